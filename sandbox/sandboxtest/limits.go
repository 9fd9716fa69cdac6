package sandboxtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

func testWorkSize(b *bench) {
	b.need(sandbox.LackWalls)
	look := bash("ls -A /work/. /tmp/.; df --output=itotal,iused,used /work | tail -1; for i in 1 2 3; do echo x > f$i || exit 1; done")
	before := b.run(look).Output
	for _, file := range []string{"/work/full", "/tmp/full"} {
		s := bash("head -c 30000000 /dev/zero > " + file)
		s.Limits.WorkSize = 8 << 20
		r := b.run(s)
		if r.Code == 0 || !strings.Contains(r.Output, "No space left") {
			b.t.Errorf("%s: %+v", file, r)
		}
		b.check(b.run(bash("head -c 30000000 /dev/zero > "+file+" && echo fits")), 0, "fits\n")
	}
	s := bash("i=0; while : > f$i; do i=$((i+1)); done 2>/dev/null; echo $((i < 3000))")
	s.Limits.WorkSize = 4 << 20
	b.check(b.run(s), 0, "1\n")     // inodes are bounded too
	b.check(b.run(look), 0, before) // nothing is left for the next: neither the files nor the room that they took
}

func testOpenFiles(b *bench) {
	b.need(sandbox.LackWalls)
	s := bash("ulimit -n; ulimit -Hn; ulimit -c")
	s.Limits.OpenFiles = 77
	b.check(b.run(s), 0, "77\n77\n0\n")
	hoard := bash(`for ((n = 0; n < 200; n++)); do exec {fd}</dev/null; done`)
	hoard.Limits.OpenFiles = 77
	if r := b.run(hoard); !strings.Contains(r.Output, "Too many open files") {
		b.t.Errorf("a hoarder of descriptors: %+v", r)
	}
	b.check(b.run(bash("exec {fd}</dev/null && echo opens")), 0, "opens\n")
}

func testPids(b *bench) {
	b.need(sandbox.LackPids)
	s := b.probe("forks", "500")
	s.Limits.Pids = 40
	r := b.run(s)
	n, err := strconv.Atoi(strings.TrimSpace(r.Output))
	if err != nil || n < 10 || n > 40 {
		b.t.Errorf("%d children under a limit of 40: %+v", n, r)
	}
	counted := !b.strength.Lacking(sandbox.LackMemory) // by a control group, and not only refused by a resource limit
	if counted && (r.Usage.PidsRefused == 0 || r.Usage.PidsPeak > 40 || r.Usage.PidsPeak < n && r.Usage.PidsPeak != 0) {
		b.t.Errorf("%d children in the record: %+v", n, r.Usage)
	}
	// A fork bomb ends with its program and leaves room for the next process.
	s = bash("bomb() { bomb | bomb & }; bomb 2>/dev/null; exit 0")
	s.Limits.Pids = 40
	b.run(s)
	s = b.probe("forks", "10")
	s.Limits.Pids = 40
	r = b.run(s)
	b.check(r, 0, "10\n")
	if r.Usage.PidsRefused != 0 {
		b.t.Errorf("refused forks in the record of the next process: %+v", r.Usage)
	}
}

func testPidsPeak(b *bench) {
	b.need(sandbox.LackMemory)
	if r := b.run(b.probe("exit", "0")); r.Usage.PidsPeak != 1 && r.Usage.PidsPeak != 0 {
		b.t.Errorf("one process: %+v", r.Usage)
	}
	if r := b.run(b.probe("forks", "20")); r.Usage.PidsPeak != 21 && r.Usage.PidsPeak != 0 { // 0: the kernel does not tell
		b.t.Errorf("21 processes: %+v", r.Usage)
	}
	if r := b.run(b.probe("exit", "0")); r.Usage.PidsPeak > 1 {
		b.t.Errorf("one process after 21: %+v", r.Usage)
	}
}

func testMemory(b *bench) {
	b.need(sandbox.LackMemory)
	for _, init := range []bool{false, true} {
		s := b.probe("allocate", "400")
		s.Limits.Memory, s.Init = 64<<20, init
		r := b.run(s)
		if !r.OOM || r.Signal != 9 || r.Code != 137 {
			b.t.Errorf("init %v: 400 MB in 64 MB: %+v", init, r)
		}
		b.checkKill(r, "probe", 40<<20, 64<<20)
	}
	// A child that is killed does not end its parent, and is in the record all the same.
	s := bash("head -c 400000000 /dev/zero | tail; echo survived")
	s.Limits.Memory = 64 << 20
	r := b.run(s)
	if !r.OOM || r.Code != 0 || !strings.HasSuffix(r.Output, "survived\n") {
		b.t.Errorf("a child of 400 MB in 64 MB: %+v", r)
	}
	b.checkKill(r, "tail", 40<<20, 64<<20)
	s = bash("head -c 200000000 /dev/zero > full; exit 0") // the work folder counts
	s.Limits.Memory = 64 << 20
	if r := b.run(s); !r.OOM && r.Code == 0 && !strings.Contains(r.Output, "memory") {
		b.t.Errorf("200 MB of files in 64 MB: %+v", r)
	}
	r = b.run(b.probe("allocate", "8"))
	if r.OOM || r.Code != 0 || r.Usage.OOMKills != 0 || r.Usage.OOM != nil {
		b.t.Errorf("after an OOM kill: %+v", r)
	}
}

// checkKill looks at the record of a kill for lack of memory. Where the kernel's log may not be read, the process is not named.
func (b *bench) checkKill(r Result, command string, least, limit int64) {
	b.t.Helper()
	if r.Usage.OOMKills < 1 {
		b.t.Errorf("no kill in the record: %+v", r.Usage)
	}
	most := limit + 16<<20 // pages of its program may be on the account of who read them first
	if r.Usage.MemoryPeak != 0 && (r.Usage.MemoryPeak < least || r.Usage.MemoryPeak > most) {
		b.t.Errorf("peak %d of a process that filled %d", r.Usage.MemoryPeak, limit)
	}
	k := r.Usage.OOM
	if k == nil {
		b.t.Log("the killed process is not named here")
		return
	}
	if k.Command != command || k.Memory < least || k.Memory > most {
		b.t.Errorf("killed was %+v, want %s with %d to %d bytes", *k, command, least, most)
	}
}

// A process that reads more than its memory is not killed: what the kernel has cached for it goes first. What it leaves behind is
// neither in the way of the next process nor held against it.
func testPageCache(b *bench) {
	b.need(sandbox.LackMemory)
	s := bash("for f in " + strings.Join(large(b.t), " ") + "; do " + readAnew + "; done > /dev/null; echo read")
	s.Limits.Memory = 32 << 20
	b.checkRead(s)
	b.checkRoom()
}

// The names and inodes of files that a process has looked at are on its account too, and are given back more slowly.
func testNameCache(b *bench) {
	b.need(sandbox.LackMemory)
	s := bash("for f in $(find /usr/bin /usr/lib -type f -size +1M -size -32M -readable 2> /dev/null | head -n 64); do " + readAnew +
		"; done | head -c 160000000 > /dev/null; echo read")
	s.Limits.Memory = 64 << 20
	b.checkRead(s)
	b.checkRoom()
}

// readAnew writes the file $f to stdout. What the host has in its cache is on the account of who read it first: it is dropped before.
const readAnew = "dd if=$f iflag=nocache count=0 2> /dev/null; cat $f"

// large lists programs and libraries of some 160 MB. Not all there are: on a busy disk that takes minutes.
func large(t *testing.T) (out []string) {
	t.Helper()
	left := int64(160 << 20)
	for _, pattern := range []string{"/usr/bin/*", "/usr/lib/*/*.so*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			st, err := os.Lstat(name)
			if err == nil && st.Mode().IsRegular() && st.Mode()&4 != 0 && st.Size() > 1<<20 && left > 0 {
				out, left = append(out, name), left-st.Size()
			}
		}
	}
	return out
}

// checkRead runs what reads a lot and looks that it is charged for that and not killed for it.
func (b *bench) checkRead(s sandbox.Spec) {
	b.t.Helper()
	limit := s.Limits.Memory
	r := b.run(s)
	b.check(r, 0, "read\n")
	// The kernel itself may exceed the limit, by no more than it charges at a time: 64 pages.
	if r.OOM || r.Usage.OOMKills != 0 || r.Usage.MemoryPeak > limit+256<<10 {
		b.t.Errorf("killed for what was cached: %+v", r)
	}
	if r.Usage.MemoryPeak != 0 && r.Usage.MemoryPeak < limit/4*3 && onDisk(b.t) {
		b.t.Errorf("what was cached is not on its account: %+v", r.Usage)
	}
}

// onDisk says that programs lie on a disk, so that there is something to cache.
func onDisk(t *testing.T) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs("/usr/bin", &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC
}

// checkRoom looks that a process has nearly all of its memory, though others ran before it.
func (b *bench) checkRoom() {
	b.t.Helper()
	for range 2 {
		next := b.probe("allocate", "24")
		next.Limits.Memory = 32 << 20
		if r := b.run(next); r.OOM || r.Code != 0 {
			b.t.Errorf("24 of 32 MB after the cache was filled: %+v", r)
		}
	}
}

// The quota is seen in the facts that the kernel counts: the processor time that there was for the time that passed. A little more
// than the share is given, a period at the beginning and one at the end; a host that is busy with others only gives less.
func testCPU(b *bench) {
	b.need(sandbox.LackCPU)
	spin := bash("while ((${EPOCHREALTIME/[.,]/} < end)); do :; done")
	spin.Env = append(spin.Env, "end="+strconv.FormatInt(time.Now().Add(time.Second).UnixMicro(), 10))
	spin.Limits.CPU = 0.05
	start := time.Now()
	r := b.run(spin)
	wall := time.Since(start)
	cpu := r.Usage.CPUUser + r.Usage.CPUSystem
	if most := wall/20 + 250*time.Millisecond; r.Code != 0 || cpu > most {
		b.t.Errorf("%v of processor time in %v with a twentieth of a core: %+v", cpu, wall, r)
	}
	if r.Usage.Throttled == 0 {
		b.t.Errorf("the quota is not in the record: %+v", r.Usage)
	}
	if r := b.run(bash("echo next")); r.Usage.Throttled != 0 || r.Output != "next\n" {
		b.t.Errorf("after a limited process: %+v", r)
	}
}

// Output is counted by who reads it; what a process writes when nobody does must neither end it nor cost memory.
func testOutputFlood(b *bench) {
	s := bash("exec head -c 300000000 /dev/zero")
	s.Limits.Memory = 64 << 20
	p := b.start(s)
	buf := make([]byte, 1<<20)
	for n := 0; n < 5<<20; {
		k, err := p.Output().Read(buf)
		if n += k; err != nil {
			b.t.Fatalf("the output ended after %d bytes: %v", n, err)
		}
	}
	if err := p.Kill(); err != nil {
		b.t.Fatal(err)
	}
	if r := finish(b.t, p); r.OOM || r.Signal != 9 {
		b.t.Errorf("a killed flood: %+v", r.Exit)
	}
	b.check(b.run(bash("echo next")), 0, "next\n")
}
