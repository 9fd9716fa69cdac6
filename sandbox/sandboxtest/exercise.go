package sandboxtest

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Exercise runs the conformance suite.
func Exercise(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"Env", testEnv}, {"Argv", testArgv}, {"Files", testFiles}, {"LargeFiles", testLargeFiles}, {"BadSpec", testBadSpec},
		{"ExitCode", testExitCode}, {"Signal", testSignal}, {"StartError", testStartError}, {"Output", testOutput},
		{"Conn", testConn}, {"Kill", testKill}, {"Close", testClose}, {"WaitContext", testWaitContext}, {"Busy", testBusy},
		{"Collect", testCollect}, {"CollectIsNoWayOut", testCollectLinks}, {"Usage", testUsage}, {"Leftovers", testLeftovers},
		{"Reuse", testReuse}, {"ConcurrentSlots", testConcurrentSlots}, {"SlotClose", testSlotClose},
		{"Daemon", testDaemon}, {"DaemonUnderInit", testDaemonUnderInit}, {"BrokenSlot", testBrokenSlot},
		{"WorkSize", testWorkSize}, {"OpenFiles", testOpenFiles}, {"Pids", testPids}, {"PidsPeak", testPidsPeak},
		{"Memory", testMemory}, {"PageCache", testPageCache}, {"NameCache", testNameCache}, {"CPU", testCPU},
		{"OutputFlood", testOutputFlood}, {"Shared", testShared},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(setup(t, open)) })
	}
}

func (b *bench) check(r Result, code int, output string) {
	b.t.Helper()
	if r.Error != "" || r.Code != code || r.Output != output {
		b.t.Errorf("code %d error %q output %q, want code %d output %q", r.Code, r.Error, r.Output, code, output)
	}
}

func testEnv(b *bench) {
	s := b.probe("show")
	s.Env = []string{"B=2", "A=one two", "EMPTY="}
	b.check(b.run(s), 0, "arg probe\narg show\nenv B=2\nenv A=one two\nenv EMPTY=\n")
	s = b.probe("show")
	b.check(b.run(s), 0, "arg probe\narg show\n")
}

func testArgv(b *bench) {
	s := b.probe("show", "", "a b", "ünï\n", strings.Repeat("x", 100<<10))
	r := b.run(s)
	b.check(r, 0, "arg probe\narg show\narg \narg a b\narg ünï\n\narg "+strings.Repeat("x", 100<<10)+"\n")
	b.check(b.run(sandbox.Spec{Argv: []string{"/bin/bash", "-c", "echo $0-$1", "zero", "one"}}), 0, "zero-one\n")
}

func testFiles(b *bench) {
	s := bash("cat a.txt deep/er/b; stat -c '%a %n' a.txt deep/er/b run.sh; ./run.sh; pwd -P > where; test -s where")
	s.Files = []sandbox.File{
		{Name: "a.txt", Data: []byte("A\x00A\n")},
		{Name: "deep/er/b", Data: []byte("B\n"), Mode: 0o600},
		{Name: "run.sh", Data: []byte("#!/bin/bash\necho ran\n"), Mode: 0o755},
		{Name: "empty"},
	}
	b.check(b.run(s), 0, "A\x00A\nB\n644 a.txt\n600 deep/er/b\n755 run.sh\nran\n")
}

func testLargeFiles(b *bench) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB: does not fit a message
	s := bash("cksum big; cat small")
	s.Files = []sandbox.File{{Name: "big", Data: data}, {Name: "small", Data: []byte("s")}}
	r := b.run(s)
	if r.Code != 0 || !strings.Contains(r.Output, " 4194304 big\n") || !strings.HasSuffix(r.Output, "s") {
		b.t.Errorf("code %d error %q output %q", r.Code, r.Error, r.Output)
	}
}

func testBadSpec(b *bench) {
	for _, s := range []sandbox.Spec{
		{Argv: []string{"/bin/true"}, Files: []sandbox.File{{Name: "../x"}}},
		{Argv: []string{"/bin/true"}, Files: []sandbox.File{{Name: "/etc/x"}}},
		{Argv: []string{"/bin/true"}, Files: []sandbox.File{{Name: "a/../../x"}}},
		{Argv: []string{"/bin/true"}, Files: []sandbox.File{{Name: ""}}},
		{Argv: []string{"/bin/true"}, Init: true, Collect: "../x"},
		{Argv: []string{"/bin/true", "a\x00b"}},
		{Argv: []string{"/bin/true"}, Env: []string{"A=\x00"}},
	} {
		p, err := b.slot.Start(context.Background(), s)
		if err == nil {
			p.Close()
			b.t.Errorf("accepted %+v", s)
		}
	}
	b.check(b.run(bash("echo still here")), 0, "still here\n")
}

func testExitCode(b *bench) {
	for _, code := range []int{0, 1, 42, 255} {
		b.check(b.run(b.probe("exit", itoa(code))), code, "")
		b.check(b.run(bash("exit "+itoa(code))), code, "")
	}
}

func testSignal(b *bench) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGPIPE} {
		s := b.probe("signal", itoa(int(sig)))
		s.Init = true
		r := b.run(s)
		if r.Code != 128+int(sig) || r.Signal != int(sig) || r.Error != "" {
			b.t.Errorf("signal %v: %+v", sig, r)
		}
	}
}

func testStartError(b *bench) {
	for _, init := range []bool{false, true} {
		r := b.run(sandbox.Spec{Argv: []string{"/no/such/program"}, Init: init})
		if r.Code != 127 || !strings.Contains(r.Error, "exec /no/such/program") ||
			!strings.Contains(strings.ToLower(r.Error), "no such file") {
			b.t.Errorf("init %v: %+v", init, r)
		}
	}
	r := b.run(sandbox.Spec{Argv: []string{"/etc/passwd"}})
	if r.Code != 127 || !strings.Contains(strings.ToLower(r.Error), "permission denied") {
		b.t.Errorf("not executable: %+v", r)
	}
	b.check(b.run(bash("echo next")), 0, "next\n")
}

func testOutput(b *bench) {
	r := b.run(bash("echo out; echo err >&2; echo again > /dev/stderr; read x || echo no stdin"))
	b.check(r, 0, "out\nerr\nagain\nno stdin\n")
	r = b.run(bash("head -c 3000000 /dev/zero; echo end"))
	if r.Code != 0 || len(r.Output) != 3000004 {
		b.t.Errorf("code %d, %d bytes of output", r.Code, len(r.Output))
	}
}

func testConn(b *bench) {
	p := b.start(b.probe("echo"))
	sent := bytes.Repeat([]byte("frame"), 1<<16)
	go func() {
		_, _ = p.Conn().Write(sent)
		_ = p.Conn().(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(p.Conn())
	if err != nil || !bytes.Equal(got, sent) {
		b.t.Errorf("echo of %d bytes: %d bytes, %v", len(sent), len(got), err)
	}
	b.check(finish(b.t, p), 0, "")
}

func testKill(b *bench) {
	for _, init := range []bool{false, true} {
		s := b.probe("echo")
		s.Init = init
		p := b.start(s)
		for range 3 {
			if err := p.Kill(); err != nil {
				b.t.Errorf("kill: %v", err)
			}
		}
		r := finish(b.t, p)
		if r.Code != 128+9 || r.Signal != 9 || r.Error != "" {
			b.t.Errorf("init %v: %+v", init, r)
		}
		if err := p.Kill(); err != nil {
			b.t.Errorf("kill after the end: %v", err)
		}
	}
}

func testClose(b *bench) {
	p := b.start(b.probe("echo"))
	if err := p.Close(); err != nil {
		b.t.Errorf("close: %v", err)
	}
	if err := p.Close(); err != nil {
		b.t.Errorf("second close: %v", err)
	}
	// Killed before it ran, or told by its closed socket that it is done.
	if e, err := p.Wait(context.Background()); err != nil || (e.Signal != 9 && e.Code != 0) {
		b.t.Errorf("wait after close: %+v %v", e, err)
	}
}

func testWaitContext(b *bench) {
	p := b.start(b.probe("echo"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Wait(ctx); err == nil {
		b.t.Error("wait with an ended context returned no error")
	}
	if err := p.Kill(); err != nil {
		b.t.Fatal(err)
	}
	finish(b.t, p)
}

func testBusy(b *bench) {
	p := b.start(b.probe("echo"))
	if q, err := b.slot.Start(context.Background(), b.probe("exit", "0")); err == nil {
		q.Close()
		b.t.Error("second process started while the first was alive")
	}
	_ = p.Kill()
	finish(b.t, p)
	b.check(b.run(b.probe("exit", "3")), 3, "")
}

func testCollect(b *bench) {
	s := bash("printf '{\"a\":1}' > result.json; exit 3")
	s.Collect = "result.json"
	r := b.run(s)
	if r.Code != 3 || !r.Found || string(r.Collected) != `{"a":1}` {
		b.t.Errorf("%+v", r)
	}
	s = bash("mkdir out; head -c 8000000 /dev/zero > out/big")
	s.Collect = "out/big"
	if r = b.run(s); r.Code != 0 || !r.Found || len(r.Collected) != 8000000 {
		b.t.Errorf("large file: code %d error %q found %v, %d bytes", r.Code, r.Error, r.Found, len(r.Collected))
	}
	s = bash(": > empty")
	s.Collect = "empty"
	if r = b.run(s); !r.Found || len(r.Collected) != 0 {
		b.t.Errorf("empty file: %+v", r)
	}
	s = bash("true")
	s.Collect = "missing"
	if r = b.run(s); r.Code != 0 || r.Found {
		b.t.Errorf("missing file: %+v", r)
	}
	s = bash("truncate -s 17M big")
	s.Collect = "big"
	if r = b.run(s); r.Found || !strings.Contains(strings.ToLower(r.Error), "file too large") {
		b.t.Errorf("17 MiB: found %v error %q", r.Found, r.Error)
	}
}

func testCollectLinks(b *bench) {
	for _, script := range []string{"ln -s /etc/passwd r", "mkfifo r", "mkdir r"} {
		s := bash(script)
		s.Collect = "r"
		if r := b.run(s); r.Found || r.Code != 0 {
			b.t.Errorf("%s: %+v", script, r)
		}
	}
}

func testUsage(b *bench) {
	r := b.run(bash("for ((i = 0; i < 100000; i++)); do :; done"))
	if cpu := r.Usage.CPUUser + r.Usage.CPUSystem; cpu < 20*time.Millisecond || cpu > time.Minute {
		b.t.Errorf("cpu time %v", cpu)
	}
	r = b.run(b.probe("allocate", "30"))
	if r.Usage.MemoryPeak < 30<<20 || r.Usage.MemoryPeak > 2<<30 {
		b.t.Errorf("memory peak %d", r.Usage.MemoryPeak)
	}
}

func testLeftovers(b *bench) {
	list := "ls -A"
	if b.walls() {
		list = "cd /work; ls -A . /tmp/. ; if [ -d /dev/shm ]; then ls -A /dev/shm/.; fi"
	}
	empty := b.run(bash(list)).Output
	mess := "echo x > file; mkdir dir; echo y > .hidden; exit 0"
	if b.walls() {
		mess = "echo z > /tmp/t; if [ -d /dev/shm ]; then echo s > /dev/shm/s; fi; " + mess
	}
	b.check(b.run(bash(mess)), 0, "")
	b.check(b.run(bash(list)), 0, empty)
	if strings.Contains(empty, "file") {
		b.t.Errorf("first process saw %q", empty)
	}
}

func testReuse(b *bench) {
	for i := range 50 {
		b.check(b.run(b.probe("exit", itoa(i))), i, "")
	}
}

func testConcurrentSlots(b *bench) {
	slots := []sandbox.Slot{b.slot, b.open(), b.open(), b.open()}
	program := Probe(b.t)
	var wg sync.WaitGroup
	for i, s := range slots {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 10 {
				want := i*10 + n
				p, err := s.Start(context.Background(), sandbox.Spec{Argv: []string{"probe", "exit", itoa(want)}, Exec: program})
				if err != nil {
					b.t.Errorf("slot %d: %v", i, err)
					return
				}
				e, err := p.Wait(context.Background())
				p.Close()
				if err != nil || e.Code != want {
					b.t.Errorf("slot %d: %+v %v, want code %d", i, e, err, want)
				}
			}
		}()
	}
	wg.Wait()
}

func testSlotClose(b *bench) {
	p := b.start(b.probe("echo"))
	if err := b.slot.Close(); err != nil {
		b.t.Errorf("close: %v", err)
	}
	within(b.t, b.slot.Done(), "slot.Done after Close")
	ended := make(chan struct{})
	go func() {
		_, _ = p.Wait(context.Background())
		close(ended)
	}()
	within(b.t, ended, "Wait after the slot was closed")
	if q, err := b.slot.Start(context.Background(), b.probe("exit", "0")); err == nil {
		q.Close()
		b.t.Error("a closed slot started a process")
	}
}

func within(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}
