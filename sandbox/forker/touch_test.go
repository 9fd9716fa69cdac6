package forker_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// A zygote whose jobs write to memory that it has made, 400 pages of it, and tell how many faults that took.
const pagesSource = `
import mmap, os, resource, socket, sys
sys.path.insert(0, "/millrace/lib")
import _millrace_forker
memory = mmap.mmap(-1, 400 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(400):
    memory[page * 4096] = 1

def write():
    for page in range(400):
        memory[page * 4096] += 1
    return sum(memory[page * 4096] for page in range(400))

def run_job():
    with socket.socket(fileno=3) as s:
        s.recv(10)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        total = write()
        s.sendall(b"[%d,%d]" % (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, total))

_millrace_forker.serve(3, run_job, True, *([write] if "--practise" in sys.argv else []))
`

// TestPractisedPagesAreCopiedAhead: the memory that a practising child wrote to takes no faults in later ones, and what it wrote
// there is not seen by them.
func TestPractisedPagesAreCopiedAhead(t *testing.T) {
	needRoot(t)
	faults := map[bool]float64{}
	for _, practise := range []bool{false, true} {
		template := zygote(t)
		if err := os.WriteFile(filepath.Join(template.Binds[0].Source, "zygote.py"), []byte(pagesSource), 0o644); err != nil {
			t.Fatal(err)
		}
		if practise {
			template.Zygote = append(template.Zygote, "--practise")
		}
		p := openPython(t, &harness{t: t}, template)
		for range 2 {
			result, e, out := p.run("go")
			got, ok := result.([]any)
			if !ok || len(got) != 2 || e.Code != 0 {
				t.Fatalf("%v %+v %q", result, e, out)
			}
			if got[1] != 800.0 {
				t.Errorf("a job finds %v written, want 800", got[1])
			}
			faults[practise] = got[0].(float64)
		}
	}
	t.Logf("faults %v", faults)
	if faults[false] < 400 {
		t.Errorf("%v faults without practice: the test proves nothing", faults[false])
	}
	if faults[true] > 40 {
		t.Errorf("%v faults after practice", faults[true])
	}
}

var _ sandbox.Isolator = (*harness)(nil)
