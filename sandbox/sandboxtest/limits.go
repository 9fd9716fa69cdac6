package sandboxtest

import (
	"strconv"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

func testWorkSize(b *bench) {
	b.need(sandbox.LackWalls)
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
	b.check(b.run(s), 0, "1\n") // inodes are bounded too
}

func testOpenFiles(b *bench) {
	b.need(sandbox.LackWalls)
	s := bash("ulimit -n; ulimit -Hn; ulimit -c")
	s.Limits.OpenFiles = 77
	b.check(b.run(s), 0, "77\n77\n0\n")
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
	// A fork bomb ends with its program and leaves room for the next process.
	s = bash("bomb() { bomb | bomb & }; bomb 2>/dev/null; exit 0")
	s.Limits.Pids = 40
	b.run(s)
	s = b.probe("forks", "10")
	s.Limits.Pids = 40
	b.check(b.run(s), 0, "10\n")
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
	}
	s := bash("head -c 200000000 /dev/zero > full; exit 0") // the work folder counts
	s.Limits.Memory = 64 << 20
	if r := b.run(s); !r.OOM && r.Code == 0 && !strings.Contains(r.Output, "memory") {
		b.t.Errorf("200 MB of files in 64 MB: %+v", r)
	}
	r := b.run(b.probe("allocate", "8"))
	if r.OOM || r.Code != 0 {
		b.t.Errorf("after an OOM kill: %+v", r)
	}
}
