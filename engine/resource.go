package engine

import "fmt"

// The least that a script can ask for: below it no interpreter starts, and the run would end for a reason that helps nobody.
const (
	MinMemoryMB  = 32
	MinCPU       = 0.01
	MinPids      = 8
	MinWorkMB    = 1
	MinOpenFiles = 64
	MinOutputMB  = 1
)

// resources lists the fields of l by the names that scripts have for them, with the least of each.
func (l LimitOptions) resources() [6]resource {
	return [6]resource{
		{"limits.memory_mb", float64(l.MemoryMB), MinMemoryMB, "MB of memory"}, {"limits.cpu", l.CPU, MinCPU, "processor cores"},
		{"limits.pids", float64(l.Pids), MinPids, "processes"}, {"limits.work_mb", float64(l.WorkMB), MinWorkMB, "MB in the work folder"},
		{"limits.open_files", float64(l.OpenFiles), MinOpenFiles, "open files"}, {"limits.output_mb", float64(l.OutputMB), MinOutputMB, "MB of output"},
	}
}

type resource struct {
	name         string
	value, least float64
	unit         string
}

// Check says which limit is none.
func (l LimitOptions) Check() error {
	for _, r := range l.resources() {
		if r.value != 0 && !(r.value >= r.least && r.value <= 1<<30) {
			return &Error{Code: Invalid, Op: "script.options", Path: r.name,
				Msg: fmt.Sprintf("%g %s is less than a run can do with (%g), or no number of them", r.value, r.unit, r.least)}
		}
	}
	return nil
}

// Within says which limit is above most, what the host gives a run at the most. Zero fields of most do not bound.
func (l LimitOptions) Within(most LimitOptions) error {
	bounds := most.resources()
	for i, r := range l.resources() {
		if b := bounds[i].value; b > 0 && r.value > b {
			return &Error{Code: Invalid, Op: "script.options", Path: r.name,
				Msg:  fmt.Sprintf("it asks for %g %s, and this host gives a run %g at the most", r.value, r.unit, b),
				Hint: "ask for less, or have the administrator raise --max-limits"}
		}
	}
	return nil
}
