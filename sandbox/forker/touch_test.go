package forker_test

import (
	"os"
	"path/filepath"
	"strings"
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

// inBoth has two jobs run in a zygote without an argument and in one with it, and passes on what each says, a list of some length.
func inBoth(t *testing.T, source, argument string, length int, look func(with bool, said []any)) {
	t.Helper()
	for _, with := range []bool{false, true} {
		template := zygote(t)
		if err := os.WriteFile(filepath.Join(template.Binds[0].Source, "zygote.py"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		if with {
			template.Zygote = append(template.Zygote, argument)
		}
		p := openPython(t, &harness{t: t}, template)
		for range 2 {
			result, e, out := p.run("go")
			said, ok := result.([]any)
			if !ok || len(said) != length || e.Code != 0 {
				t.Fatalf("%v %+v %q", result, e, out)
			}
			look(with, said)
		}
	}
}

// TestPractisedPagesAreCopiedAhead: the memory that a practising child wrote to takes no faults in later ones, and what it wrote
// there is not seen by them.
func TestPractisedPagesAreCopiedAhead(t *testing.T) {
	needRoot(t)
	faults := map[bool]float64{}
	inBoth(t, pagesSource, "--practise", 2, func(practise bool, got []any) {
		if got[1] != 800.0 {
			t.Errorf("a job finds %v written, want 800", got[1])
		}
		faults[practise] = got[0].(float64)
	})
	t.Logf("faults %v", faults)
	if faults[false] < 400 {
		t.Errorf("%v faults without practice: the test proves nothing", faults[false])
	}
	if faults[true] > 40 {
		t.Errorf("%v faults after practice", faults[true])
	}
}

// A zygote that learns pages which its jobs do not find: what a practising child maps for itself, and what the zygote itself gives up
// before it forks the jobs.
const goneSource = `
import mmap, os, socket, sys
sys.path.insert(0, "/millrace/lib")
import _millrace_forker
private = dict(flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
given_up = mmap.mmap(-1, 64 * 4096, **private)
kept = mmap.mmap(-1, 64 * 4096, **private)
own = []

def practise():
    own.append(mmap.mmap(-1, 64 * 4096, **private))
    for memory in (own[0], given_up, kept):
        for page in range(0, 64, 2):
            memory[page * 4096] = 1

practised = False

def leave():
    if practised:
        given_up.close()

def after():
    global practised
    practised = True

os.register_at_fork(before=leave, after_in_parent=after)

def run_job():
    with socket.socket(fileno=3) as s:
        s.recv(10)
        s.sendall(b"[%d,%d]" % (given_up.closed, sum(kept[:])))

_millrace_forker.serve(3, run_job, True, practise)
`

// TestPagesThatAreGoneAreLeftOut: a job is not ended by what it lacks of the pages that were learned.
func TestPagesThatAreGoneAreLeftOut(t *testing.T) {
	needRoot(t)
	template := zygote(t)
	if err := os.WriteFile(filepath.Join(template.Binds[0].Source, "zygote.py"), []byte(goneSource), 0o644); err != nil {
		t.Fatal(err)
	}
	p := openPython(t, &harness{t: t}, template)
	for range 2 {
		result, e, out := p.run("go")
		got, ok := result.([]any)
		if !ok || len(got) != 2 || e.Code != 0 {
			t.Fatalf("%v %+v %q", result, e, out)
		}
		if got[0] != 1.0 || got[1] != 0.0 {
			t.Errorf("a job finds %v, want the memory that was given up gone and the rest untouched", got)
		}
	}
}

// A zygote with 8 MB in use and 8 MB that hardly are; a practising child looks how much of both is in huge pages.
const hugeSource = `
import mmap, socket, sys
sys.path.insert(0, "/millrace/lib")
import _millrace_forker
said = mmap.mmap(-1, 4096)
used, unused = (mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2))
used[:] = b"u" * len(used)
for at in range(0, len(unused), 1 << 16):
    unused[at] = 1

def practise():
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("AnonHugePages:"):
                said[:8] = int(line.split()[1]).to_bytes(8, "little")

def run_job():
    with socket.socket(fileno=3) as s:
        s.recv(10)
        used[5000] = 0
        s.sendall(b"[%d,%d]" % (int.from_bytes(said[:8], "little"), used[:].count(b"u")))

_millrace_forker.serve(3, run_job, True, practise)
`

// TestMemoryInUseIsInHugePages: what forks share and is full is collapsed, what is not full stays as it is, and jobs have copies.
func TestMemoryInUseIsInHugePages(t *testing.T) {
	needRoot(t)
	if b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil || strings.Contains(string(b), "[never]") {
		t.Skipf("no transparent huge pages here: %s %v", b, err)
	}
	template := zygote(t)
	if err := os.WriteFile(filepath.Join(template.Binds[0].Source, "zygote.py"), []byte(hugeSource), 0o644); err != nil {
		t.Fatal(err)
	}
	p := openPython(t, &harness{t: t}, template)
	for range 2 {
		result, e, out := p.run("go")
		got, ok := result.([]any)
		if !ok || len(got) != 2 || e.Code != 0 {
			t.Fatalf("%v %+v %q", result, e, out)
		}
		if kb := got[0].(float64); kb < 6<<10 || kb > 15<<10 {
			t.Errorf("%v kB are in huge pages, want most of 8 MB and nothing of the other 8", kb)
		}
		if got[1] != float64(8<<20-1) {
			t.Errorf("a job finds %v bytes as the zygote left them", got[1])
		}
	}
}

// A zygote that makes 8 MB of small objects while shared memory comes between; a practising child looks how much of that is in huge
// pages. A job then lets all of it go and makes as much again.
const gatherSource = `
import mmap, socket, sys
sys.path.insert(0, "/millrace/lib")
import _millrace_forker
if "--gather" in sys.argv:
    _millrace_forker.gather()
    _millrace_forker.gather()
said = mmap.mmap(-1, 4096)
between, objects = [], []
for part in range(16):
    objects.append([bytes(440) for _ in range(1000)])
    between.append(mmap.mmap(-1, 4096))

def practise():
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("AnonHugePages:"):
                said[:8] = int(line.split()[1]).to_bytes(8, "little")

def run_job():
    with socket.socket(fileno=3) as s:
        s.recv(10)
        intact = sum(sum(len(o) for o in part) for part in objects)
        for _ in range(3):
            objects.clear()
            objects.extend([b"%0400d" % n for n in range(1000)] for _ in range(40))
        right = all(o == b"%0400d" % n for part in objects for n, o in enumerate(part))
        s.sendall(b"[%d,%d,%d]" % (int.from_bytes(said[:8], "little"), intact, right))

_millrace_forker.serve(3, run_job, True, practise)
`

// TestGatheredObjectsAreInHugePages: the interpreter's arenas lie together once they are asked to, and can be given back and made anew.
func TestGatheredObjectsAreInHugePages(t *testing.T) {
	needRoot(t)
	if b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil || strings.Contains(string(b), "[never]") {
		t.Skipf("no transparent huge pages here: %s %v", b, err)
	}
	huge := map[bool]float64{}
	inBoth(t, gatherSource, "--gather", 3, func(gather bool, got []any) {
		if got[1] != 16.0*1000*440 || got[2] != 1.0 {
			t.Errorf("gathered %t: a job finds %v, want the zygote's objects whole and its own right", gather, got)
		}
		huge[gather] = got[0].(float64)
	})
	t.Logf("kB in huge pages: %v", huge)
	if huge[true] < 4<<10 || huge[true] <= huge[false] {
		t.Errorf("%v kB are in huge pages once gathered, %v before", huge[true], huge[false])
	}
}

var _ sandbox.Isolator = (*harness)(nil)
