package runtimetest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/nsjail"
)

// jailed is an isolator by the nsjail of this host, with the forker in lib. Where there is none the test is skipped, with what to
// install.
func jailed(t *testing.T, lib string) sandbox.Isolator {
	t.Helper()
	path, err := nsjail.Detect()
	var missing *nsjail.Missing
	if errors.As(err, &missing) {
		t.Skipf("not tested here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nsjail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	i, err := nsjail.New(nsjail.Config{Path: path, Forker: filepath.Join(lib, "forker"), State: filepath.Join(dir, "state")})
	if err != nil {
		t.Skipf("no helpers for slots here: %v", err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// cases runs what the language can do: there every process starts cold.
func (a *attacker) cases(t *testing.T, i sandbox.Isolator) {
	d := *a.driver
	d.Isolator = i
	for _, c := range readArchives(t, "testdata/run") {
		if c.name == "echo" { // without its values it is no case
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if needs, _ := c.get("needs"); strings.Contains(needs, "network") && !online() {
				t.Skip("no package registry can be reached from here")
			}
			c.run(t, &d, c)
		})
	}
}
