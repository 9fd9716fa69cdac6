package jobs

import "github.com/millrace/millrace/engine"

func checkNetwork(n string) error {
	switch n {
	case "", "none", "egress", "host":
		return nil
	}
	return &engine.Error{Code: engine.Invalid, Op: "job.run", Path: n, Msg: "not a network mode", Hint: "use none, egress or host"}
}
