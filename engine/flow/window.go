package flow

import (
	"math"

	"github.com/millrace/millrace/engine/flow/format"
)

// mostStarts is how many items one event starts: what is stored together is held in memory together.
const mostStarts = 500

// window is how many items of m are started ahead of those that have ended, however many may run at once: so many keep a host at
// work, and more would only wait in the queue. Items that may wait for a time or for somebody are all started: they wait at once.
func window(m *format.Module) int {
	var body []*format.Module
	switch b := m.Value.(type) {
	case *format.ForLoop:
		body = b.Modules
	case *format.BranchAll:
		for _, branch := range b.Branches {
			body = append(body, branch.Modules...)
		}
	}
	if lasting(body) {
		return math.MaxInt
	}
	return mostStarts
}

// lasting tells whether modules may do nothing for a while.
func lasting(modules []*format.Module) bool {
	for _, m := range modules {
		if m.Sleep != nil || m.Suspend != nil || m.Retry != nil {
			return true
		}
		switch b := m.Value.(type) {
		case *format.SubFlow:
			return true
		case *format.ForLoop:
			if lasting(b.Modules) {
				return true
			}
		case *format.WhileLoop:
			if lasting(b.Modules) {
				return true
			}
		case *format.BranchOne:
			if lasting(b.Default) {
				return true
			}
			for _, branch := range b.Branches {
				if lasting(branch.Modules) {
					return true
				}
			}
		case *format.BranchAll:
			for _, branch := range b.Branches {
				if lasting(branch.Modules) {
					return true
				}
			}
		}
	}
	return false
}
