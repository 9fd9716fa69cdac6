package engine

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/sandbox"
)

// Options are the fields of Script.Extra that change how a version runs; every other one is only kept. They are read once, when a
// version is stored (where a wrong one is refused) and when it is loaded.
type Options struct {
	// Dedicated: runs share one process that is kept, one after another, instead of a fresh one each. Windmill's name.
	Dedicated bool `json:"dedicated_worker"`
	// Processes is the most processes that runs of a dedicated script of one owner are spread over; zero: one.
	Processes int `json:"dedicated_processes"`
	// Allow, when not nil, is all that runs may contact: "host", "host:port", "*.host:port", "10.0.0.0/8:443".
	Allow []string `json:"network_allow"`
	// GPU is how many whole devices a run needs.
	GPU int `json:"gpu"`
	// Preprocessor: the source has one, which makes the arguments of a request. It is told from the source.
	Preprocessor bool `json:"has_preprocessor"`
	// Limits of a run; zero: those of the host.
	Limits LimitOptions `json:"limits"`
}

// MaxProcesses is the most that a dedicated script can ask for.
const MaxProcesses = 64

// LimitOptions bounds what one run may use.
type LimitOptions struct {
	MemoryMB  int64   `json:"memory_mb"`
	CPU       float64 `json:"cpu"` // cores
	Pids      int     `json:"pids"`
	WorkMB    int64   `json:"work_mb"`    // of the private work folder
	OpenFiles int     `json:"open_files"` // of each process
	OutputMB  int64   `json:"output_mb"`
}

// ParseOptions reads the options among a script's further fields; the error says which field is wrong.
func ParseOptions(extra map[string]json.RawMessage) (o Options, err error) {
	for name, field := range map[string]any{
		"dedicated_worker": &o.Dedicated, "dedicated_processes": &o.Processes, "network_allow": &o.Allow, "gpu": &o.GPU, "limits": &o.Limits,
		"has_preprocessor": &o.Preprocessor,
	} {
		v, ok := extra[name]
		if !ok || bytes.Equal(v, []byte("null")) {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(v))
		d.DisallowUnknownFields()
		if err := d.Decode(field); err != nil {
			return Options{}, &Error{Code: Invalid, Op: "script.options", Path: name, Msg: err.Error()}
		}
	}
	if o.Processes < 0 || o.Processes > MaxProcesses {
		return Options{}, &Error{Code: Invalid, Op: "script.options", Path: "dedicated_processes", Msg: fmt.Sprintf("give 1 to %d", MaxProcesses)}
	}
	if o.GPU < 0 {
		return Options{}, &Error{Code: Invalid, Op: "script.options", Path: "gpu", Msg: "it is below zero"}
	}
	if err := o.Limits.Check(); err != nil {
		return Options{}, err
	}
	if _, err := sandbox.ParseAllows(o.Allow); err != nil {
		return Options{}, &Error{Code: Invalid, Op: "script.options", Path: "network_allow", Msg: err.Error()}
	}
	return o, nil
}
