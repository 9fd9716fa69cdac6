package forker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/forker"
)

func finish(t testing.TB, p sandbox.Process) (sandbox.Exit, string) {
	t.Helper()
	out, _ := io.ReadAll(p.Output())
	e, err := p.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return e, string(out)
}

func TestHooks(t *testing.T) {
	needRoot(t)
	var limits atomic.Value
	refuse := errors.New("no room")
	h := &harness{t: t, options: forker.Options{
		BeforeStart: func(l sandbox.Limits) error {
			limits.Store(l)
			if l.Pids == 7 {
				return refuse
			}
			return nil
		},
		AfterExit: func(e *sandbox.Exit) { e.OOM = true },
	}}
	slot, err := h.Open(context.Background(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	ctx, spec := context.Background(), sandbox.Spec{Argv: []string{"/bin/true"}, Limits: sandbox.Limits{Pids: 7}}
	if _, err := slot.Start(ctx, spec); !errors.Is(err, refuse) {
		t.Errorf("refused by the hook: %v", err)
	}
	spec.Limits = sandbox.Limits{Memory: 1 << 28}
	p, err := slot.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if e, _ := finish(t, p); !e.OOM || e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if l := limits.Load().(sandbox.Limits); l.Memory != 1<<28 || l.Pids != sandbox.DefaultLimits.Pids {
		t.Errorf("hook got %+v", l)
	}
}

func TestStartHonoursContext(t *testing.T) {
	near, far := seqpacket(t)
	go serveFake(far, func(op byte, id uint32) [][]byte { return nil })
	c, err := forker.New(near, forker.Options{UID: 1, GID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Start(ctx, sandbox.Spec{Argv: []string{"/x"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("start: %v", err)
	}
	if _, err := c.Start(context.Background(), sandbox.Spec{Argv: []string{"/x"}}); !errors.Is(err, forker.ErrBusy) {
		t.Errorf("a slot whose job may be running started another: %v", err)
	}
}

// TestSlotFilter: the filter given with --bpf binds the forker and all jobs.
func TestSlotFilter(t *testing.T) {
	needRoot(t)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SYNC, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FLOCK, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EDOM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
	}
	var raw bytes.Buffer
	if err := binary.Write(&raw, binary.LittleEndian, filter); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(build(t), "slot.bpf")
	if err := os.WriteFile(path, raw.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	tmpl := sandbox.Template{Binds: []sandbox.Bind{{Source: path, Target: "/millrace/slot.bpf"}}}
	h := &harness{t: t, args: []string{"--bpf", "/millrace/slot.bpf"}}
	slot, err := h.Open(context.Background(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	p, err := slot.Start(context.Background(), sandbox.Spec{Argv: []string{"/usr/bin/flock", "/work", "/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if e, out := finish(t, p); e.Code == 0 || !strings.Contains(out, "domain") {
		t.Errorf("flock under a filter that denies it: %+v %q", e, out)
	}
	h.args = []string{"--bpf", "/millrace/missing"}
	if _, err := h.Open(context.Background(), tmpl); err == nil || !strings.Contains(err.Error(), "/millrace/missing") {
		t.Errorf("missing filter: %v", err)
	}
}

// TestSetupErrorIsPrecise: what keeps a job from being confined is named, and the job does not run.
func TestSetupErrorIsPrecise(t *testing.T) {
	needRoot(t)
	h := &harness{t: t}
	slot, err := h.Open(context.Background(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	p, err := slot.Start(context.Background(), sandbox.Spec{
		Argv: []string{"/bin/bash", "-c", "echo ran"}, Limits: sandbox.Limits{WorkSize: 1 << 20},
		Files: []sandbox.File{{Name: "big", Data: make([]byte, 3<<20)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if e, out := finish(t, p); e.Error != "write big: No space left on device" || e.Code != 127 || out != "" {
		t.Errorf("%+v %q", e, out)
	}
	h.options.UID, h.options.GID = 70000, 70000
	outside, err := h.Open(context.Background(), sandbox.Template{})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	q, err := outside.Start(context.Background(), sandbox.Spec{Argv: []string{"/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if e, _ := finish(t, q); e.Error != "mount /work: Invalid argument" || e.Code != 127 {
		t.Errorf("unmapped uid: %+v", e)
	}
}

func seqpacket(t testing.TB) (near, far *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var c [2]*net.UnixConn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "control")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		c[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { conn.Close() })
	}
	return c[0], c[1]
}
