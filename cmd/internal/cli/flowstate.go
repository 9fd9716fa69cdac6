package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/client"
)

// modulesOf are the modules of a flow in the order in which they run; that for failures only when it has.
func modulesOf(s *client.FlowStatus) (out []*client.FlowModule) {
	if s.PreprocessorModule != nil {
		out = append(out, s.PreprocessorModule)
	}
	for i := range s.Modules {
		out = append(out, &s.Modules[i])
	}
	if s.FailureModule.Type != engine.ModuleWaitsForPrior {
		out = append(out, &s.FailureModule)
	}
	return out
}

// stateOf is how far a module is, in a word; "": it has not begun.
func stateOf(m *client.FlowModule) string {
	switch m.Type {
	case engine.ModuleWaitsForExecutor:
		return "queued"
	case engine.ModuleInProgress:
		return "running"
	case engine.ModuleWaitsForEvents:
		return "waiting"
	case engine.ModuleFailure:
		return "failed"
	case engine.ModuleSuccess:
		if m.Skipped {
			return "skipped"
		}
		return "done"
	}
	return ""
}

// progressOf says what is in a module: iterations, branches, attempts, approvals that are missing.
func progressOf(m *client.FlowModule) (out []string) {
	done, failed := 0, 0
	for _, ok := range m.JobsSuccess {
		if ok != nil {
			if done++; !*ok {
				failed++
			}
		}
	}
	count := func(what string, of *int) {
		if of == nil {
			out = append(out, fmt.Sprintf("%d %s", done, plural(what, done)))
			return
		}
		out = append(out, fmt.Sprintf("%d of %d %s", done, *of, plural(what, *of)))
	}
	switch {
	case m.Iterator != nil:
		count("iteration", m.Iterator.Len)
	case m.BranchAll != nil:
		count("branch", &m.BranchAll.Len)
	case m.BranchChosen != nil && m.BranchChosen.Branch != nil:
		out = append(out, fmt.Sprintf("branch %d", *m.BranchChosen.Branch))
	case m.BranchChosen != nil:
		out = append(out, "default branch")
	}
	if failed > 0 && len(m.JobsSuccess) > 1 {
		out = append(out, fmt.Sprintf("%d failed", failed))
	}
	if n := len(m.FailedRetries); n > 0 {
		out = append(out, fmt.Sprintf("attempt %d", n+1))
	}
	if m.Type == engine.ModuleWaitsForEvents {
		out = append(out, fmt.Sprintf("%d %s missing", m.Count, plural("approval", m.Count)))
	}
	return out
}

func plural(what string, n int) string {
	switch {
	case n == 1:
		return what
	case strings.HasSuffix(what, "ch"):
		return what + "es"
	}
	return what + "s"
}

func approvers(m *client.FlowModule) string {
	var names []string
	for _, a := range m.Approvers {
		name := a.Approver
		if name == "" {
			name = fmt.Sprintf("link %d", a.ResumeID)
		}
		names = append(names, name)
	}
	return strings.Join(names, " and ")
}

// tookOf is how long a module took, or has taken by now.
func tookOf(m *client.FlowModule, now time.Time) string {
	start, end := m.StartedAt, now
	if start != nil && m.DurationMS != nil {
		end = ended(*start, *m.DurationMS)
	}
	if d := m.JobsDuration; d != nil { // from the first item that began to the last that ended
		last := time.Time{}
		for i, s := range d.StartedAt {
			if s == nil {
				continue
			}
			if start == nil || s.Before(*start) {
				start = s
			}
			if ms := d.DurationMS[i]; ms != nil {
				if e := ended(*s, *ms); e.After(last) {
					last = e
				}
			}
		}
		if end = now; !last.IsZero() {
			end = last
		}
	}
	switch state := stateOf(m); {
	case start == nil || state == "queued" || state == "waiting":
		return ""
	case state == "running":
		end = now
	}
	return brief(max(end.Sub(*start), 0))
}

func ended(start time.Time, ms float64) time.Time {
	return start.Add(time.Duration(ms * float64(time.Millisecond)))
}

// brief writes a time for people.
func brief(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
