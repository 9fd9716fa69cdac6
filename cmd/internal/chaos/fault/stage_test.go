package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
)

// TestTail counts acknowledgements in a file that grows in pieces.
func TestTail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.ledger")
	s := &Stage{counted: map[string]*tail{}, lives: []string{path, path + ".none"}}
	text, want := "", 0
	for _, step := range []struct {
		more string
		acks int
	}{{"", 0}, {"I x\nP x 1\n", 1}, {"P y", 0}, {" 2\nP z 3\nC x 1", 2}, {" 1 4\n", 0}} {
		text += step.more
		want += step.acks
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := s.acks(); err != nil || n != want {
			t.Fatalf("after %q: %d, %v; want %d", text, n, err, want)
		}
	}
}

func TestClearRefusals(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]*check.Result{
		"":                   {Errors: 2, Refusals: map[string]int{"unavailable the disk is full": 2}},
		"no push":            {},
		"internal something": {Errors: 2, Refusals: map[string]int{"unavailable the disk is full": 1, "internal something": 1}},
	} {
		if got := clearRefusals(r); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnywhere(t *testing.T) {
	t.Parallel()
	got := anywhere(map[string]int{"dial /x/1/db: refused": 1, "read 127.0.0.1:1->127.0.0.1:22: reset": 2, "read 127.0.0.1:3->127.0.0.1:22: reset": 3}, "/x/1")
	if len(got) != 2 || got["dial DIR/db: refused"] != 1 || got["read HOST->HOST: reset"] != 5 {
		t.Errorf("got %v", got)
	}
}
