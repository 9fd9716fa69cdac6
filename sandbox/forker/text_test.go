package forker_test

import (
	"os"
	"path/filepath"
	"testing"
)

// A zygote that has read all of a file, as it has of its programs, and whose jobs read it again and tell how many faults that took. With
// --shared it is a mapping of another kind, which stays as it is.
const textSource = `
import mmap, os, resource, socket, sys
sys.path.insert(0, "/millrace/lib")
import _millrace_forker
SIZE = 400 * 4096
file = os.open("/millrace/lib/pages", os.O_RDONLY)
kind = mmap.MAP_SHARED if "--shared" in sys.argv else mmap.MAP_PRIVATE
memory = mmap.mmap(file, SIZE, flags=kind, prot=mmap.PROT_READ)
other = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
other.write(bytes(SIZE))

def read(memory):
    return sum(memory[at] for at in range(0, SIZE, 4096))

def run_job():
    with socket.socket(fileno=3) as s:
        s.recv(10)
        counts = []
        for what in (other, other, memory):  # the first also takes the faults of counting
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            total = read(what)
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        s.sendall(b"[%d,%d]" % (counts[2] - counts[1], total))

read(memory)
_millrace_forker.serve(3, run_job, True)
`

// TestTextIsMappedByTheFork: what the zygote has of files takes no faults in its jobs.
func TestTextIsMappedByTheFork(t *testing.T) {
	needRoot(t)
	faults := map[bool]float64{}
	inBothWith(t, textSource, "--shared", 2, func(dir string) {
		pages := make([]byte, 400*4096)
		for at := range pages {
			pages[at] = 1
		}
		if err := os.WriteFile(filepath.Join(dir, "pages"), pages, 0o644); err != nil {
			t.Fatal(err)
		}
	}, func(shared bool, got []any) {
		if got[1] != 400.0 {
			t.Errorf("a job reads %v, want 400", got[1])
		}
		faults[shared] = got[0].(float64)
	})
	t.Logf("faults %v", faults)
	if faults[true] < 2 { // few where the kernel has the file in large pieces
		t.Errorf("%v faults in a mapping that is shared: the test proves nothing", faults[true])
	}
	if faults[false] > 1 {
		t.Errorf("%v faults", faults[false])
	}
}
