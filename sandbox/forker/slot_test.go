package forker_test

import (
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

func full(t *testing.T) sandbox.Isolator     { needRoot(t); return &harness{t: t} }
func rootless(t *testing.T) sandbox.Isolator { return &harness{t: t, rootless: true} }

func TestExercise(t *testing.T)         { sandboxtest.Exercise(t, full) }
func TestExerciseRootless(t *testing.T) { sandboxtest.Exercise(t, rootless) }

func TestEscape(t *testing.T) {
	sandboxtest.Escape(t, full, func(t *testing.T) sandbox.Isolator { return direct.New(t.TempDir()) })
}

func TestEscapeRootless(t *testing.T) { sandboxtest.Escape(t, rootless, nil) }

func TestNoNetwork(t *testing.T) { sandboxtest.NoNetwork(t, full) }
