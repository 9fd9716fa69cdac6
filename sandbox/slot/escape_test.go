package slot

import (
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

// TestEscape attacks slots of every network.
func TestEscape(t *testing.T) {
	root(t)
	i := spawn(t, newPlace(t))
	sandboxtest.Escape(t, func(*testing.T) sandbox.Isolator { return i }, sandboxtest.Walls{Networks: sandboxtest.Networks()})
}
