package execute

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

func TestReach(t *testing.T) {
	t.Parallel()
	can, cannot := Networks{Default: sandbox.NetworkEgress}, Networks{Default: sandbox.NetworkHost, NoEgress: "no filter here"}
	instead := cannot
	instead.EgressIsHost = true
	list := []string{"example.org"}
	for _, c := range []struct {
		name  string
		n     Networks
		asks  sandbox.Network
		allow []string
		want  sandbox.Network
		fails string
	}{
		{"the default", can, "", nil, sandbox.NetworkEgress, ""},
		{"no default", Networks{}, "", nil, sandbox.NetworkHost, ""},
		{"what it asks for", can, sandbox.NetworkNone, nil, sandbox.NetworkNone, ""},
		{"the host's", can, sandbox.NetworkHost, nil, sandbox.NetworkHost, ""},
		{"a list", can, "", list, sandbox.NetworkEgress, ""},
		{"a list and nothing", can, sandbox.NetworkNone, list, sandbox.NetworkNone, ""},
		{"a list and the host's", can, sandbox.NetworkHost, list, "", "network_allow"},
		{"not possible", cannot, sandbox.NetworkEgress, nil, "", "no filter here"},
		{"not possible by default", cannot, "", nil, sandbox.NetworkHost, ""},
		{"a list without a filter", cannot, "", list, "", "network_allow"},
		{"the administrator's word", instead, sandbox.NetworkEgress, nil, sandbox.NetworkHost, ""},
		{"a list is kept all the same", instead, sandbox.NetworkEgress, list, "", "no filter here"},
	} {
		p := program{Program: runtimes.Program{Network: c.asks}, allow: c.allow}
		err := c.n.reach(&p)
		var failure *runtimes.Failure
		if c.fails != "" {
			if !errors.As(err, &failure) || !strings.Contains(failure.Message, c.fails) {
				t.Errorf("%s: %v, want a failure that says %q", c.name, err, c.fails)
			}
			continue
		}
		if err != nil || p.Network != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, p.Network, err, c.want)
		}
	}
}

func TestAddressAndVisit(t *testing.T) {
	t.Parallel()
	n := Networks{API: "http://127.0.0.1:8000"}
	env := runtimes.Env{{Name: "WM_BASE_URL", Value: "http://192.0.2.1"}}
	n.address(sandbox.NetworkHost, &env)
	if base, _ := env.Get("WM_BASE_URL"); base != "http://192.0.2.1" {
		t.Errorf("with the host's network: %v", env)
	}
	n.address(sandbox.NetworkNone, &env)
	base, _ := env.Get("WM_BASE_URL")
	if internal, _ := env.Get("BASE_INTERNAL_URL"); base != n.API || internal != n.API {
		t.Errorf("with a network of its own: %v", env)
	}
	j := &engine.Job{ID: engine.NewJobID()}
	if v := n.visit(sandbox.NetworkHost, j, "secret"); v != nil {
		t.Errorf("a visit with the host's network: %+v", v)
	}
	if v := n.visit(sandbox.NetworkEgress, j, "secret"); v == nil || v.Visitor != (engine.Visitor{Job: j.ID, Token: "secret"}) {
		t.Errorf("visit %+v", v)
	}
}
