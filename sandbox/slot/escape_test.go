package slot

import (
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/network/networktest"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

func escape(t *testing.T, networks []sandbox.Network, extra ...string) {
	p := newPlace(t)
	p.helper.Extra = append(p.helper.Extra, extra...)
	i := spawn(t, p)
	sandboxtest.Escape(t, func(*testing.T) sandbox.Isolator { return i }, sandboxtest.Walls{Networks: networks})
}

// TestEscape attacks slots of every network that this host can give them.
func TestEscape(t *testing.T) {
	root(t)
	escape(t, sandboxtest.Networks())
}

// TestEscapeEgress attacks slots with a way out, in a network of the test's own, where they can be had on every host.
func TestEscapeEgress(t *testing.T) {
	root(t)
	status, err := networktest.Again([]string{builtEnv + "=" + build(t)}, "-test.v", "-test.run=^TestEscapeAlone$")
	if err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
}

// TestEscapeAlone is what TestEscapeEgress runs.
func TestEscapeAlone(t *testing.T) {
	if !networktest.Alone() {
		t.Skip("started by TestEscapeEgress")
	}
	networktest.Connect(t)
	escape(t, []sandbox.Network{sandbox.NetworkEgress}, "--ip-forward")
}
