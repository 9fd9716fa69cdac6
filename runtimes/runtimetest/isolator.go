package runtimetest

import (
	"context"
	"os"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
	"github.com/millrace/millrace/sandbox/slot"
)

// surroundings are what programs of a test run in.
type surroundings struct {
	isolator sandbox.Isolator
	cache    string
	remove   func(path string) error // nil: this process can remove everything itself
}

// surround makes the isolator that the options ask for: their own, real slots if MILLRACE_TEST_JAIL names the helper program
// millrace-jail, else plain processes.
func surround(t *testing.T, language string, o Options) surroundings {
	t.Helper()
	helper, folder := os.Getenv("MILLRACE_TEST_JAIL"), language
	if o.Isolator == nil && helper != "" {
		folder += "-slots" // what root's plain processes left is not theirs to open
	}
	s := surroundings{isolator: o.Isolator, cache: Cache(t, folder)}
	switch {
	case s.isolator != nil:
	case helper == "":
		s.isolator = direct.New("")
	default:
		done := func() {}
		if os.Getenv("MILLRACE_TEST_TRACE") != "" {
			helper, done = trace(t, helper)
		}
		walls, err := slot.Spawn(t.Context(), slot.Helper{Path: helper, Lib: libFolder(), Cache: s.cache},
			slot.Options{Log: zerolog.New(zerolog.NewTestWriter(t))})
		if err != nil {
			t.Fatalf("start %s: %v", helper, err)
		}
		t.Cleanup(func() {
			if err := walls.Close(); err != nil {
				t.Error(err)
			}
			done()
		})
		s.isolator = walls
		s.remove = func(path string) error { return walls.Remove(context.Background(), path) }
	}
	return s
}
