package execute

import (
	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Networks says what jobs can reach on this host.
type Networks struct {
	// Default is the network of a job that does not say; empty: the host's.
	Default sandbox.Network
	// NoEgress is why there is no egress here; empty: there is. EgressIsHost gives who wants it the host's network instead.
	NoEgress     string
	EgressIsHost bool
	// API is where a job without the host's network finds the API; empty: where all others do.
	API string
	// Contacts are told what runs contact; nil: nobody is.
	Contacts contacts
}

// contacts keeps what runs contacted.
type contacts interface {
	Begin(job uuid.UUID)
	End(job uuid.UUID, list []sandbox.Contact)
}

// reach settles which network p has here. A run is never given more than its script asks for, unless the administrator said so.
func (n Networks) reach(p *program) error {
	if p.Network == "" {
		p.Network = n.Default
	}
	if p.Network == "" {
		p.Network = sandbox.NetworkHost
	}
	if p.Network == sandbox.NetworkEgress && n.NoEgress != "" && n.EgressIsHost && p.allow == nil {
		p.Network = sandbox.NetworkHost
	}
	switch {
	case p.Network == sandbox.NetworkEgress && n.NoEgress != "":
		return &runtimes.Failure{Name: "NetworkError", Message: "this host has no network egress: " + n.NoEgress +
			" (millrace doctor says what to do; --egress=host gives such jobs the host's network)"}
	case p.Network == sandbox.NetworkHost && p.allow != nil:
		return &runtimes.Failure{Name: "NetworkError",
			Message: "the script has network_allow, which only holds with network egress, and would run with the host's network"}
	case p.Network == sandbox.NetworkNone: // an allow-list allows nothing there
		p.allow = nil
	}
	return nil
}

// address points a job that has a network of its own to the API.
func (n Networks) address(network sandbox.Network, env *runtimes.Env) {
	if network == sandbox.NetworkHost || n.API == "" {
		return
	}
	for _, name := range []string{"WM_BASE_URL", "BASE_URL", "BASE_INTERNAL_URL"} {
		env.Set(name, n.API)
	}
}

// visit makes the run known to its slot's network; nil: it has the host's.
func (n Networks) visit(network sandbox.Network, j *engine.Job, token string) *pool.Visit {
	if network == sandbox.NetworkHost {
		return nil
	}
	v := &pool.Visit{Visitor: engine.Visitor{Job: j.ID, Token: token}, Began: func() {}, Ended: func([]sandbox.Contact) {}}
	if n.Contacts != nil && network == sandbox.NetworkEgress {
		v.Began = func() { n.Contacts.Begin(j.ID) }
		v.Ended = func(list []sandbox.Contact) { n.Contacts.End(j.ID, list) }
	}
	return v
}
