package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// NoNetwork checks a slot with sandbox.NetworkNone: there is no interface but its own loopback.
func NoNetwork(t *testing.T, open Open) {
	b := setup(t, open)
	b.need(sandbox.LackWalls)
	if r := b.run(b.probe("interfaces")); !strings.HasPrefix(r.Output, "interfaces 1 ") {
		t.Errorf("there is an interface besides lo: %+v", r)
	}
	if r := b.run(bash("exec 4<>/dev/tcp/192.0.2.1/80")); !strings.Contains(r.Output, "unreachable") {
		t.Errorf("there is a route to 192.0.2.1: %+v", r)
	}
}

// testHostFiles: a world-readable file of the host, whose name the job knows, is not there.
func testHostFiles(b *bench) {
	b.need(sandbox.LackWalls)
	dir, err := os.MkdirTemp("", "millrace-host-")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	secret := filepath.Join(dir, "secret")
	for path, mode := range map[string]os.FileMode{dir: 0o755, secret: 0o644} {
		if path == secret {
			err = os.WriteFile(path, []byte("host secret"), mode)
		}
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	r := b.run(bash("cat " + secret + " /proc/1/root" + secret + " /proc/self/cwd/../" + secret))
	if strings.Contains(r.Output, "host secret") || r.Code == 0 {
		b.t.Errorf("read a file of the host: %+v", r)
	}
}

// testOtherSlot: a job sees neither the files nor the shared memory nor the abstract sockets of a job in another slot.
func testOtherSlot(b *bench) {
	b.need(sandbox.LackWalls)
	other := b.open()
	first := b.slot
	s := bash("echo theirs > /work/mine; echo theirs > /tmp/mine; hostname; cat <&3")
	p := b.start(s)
	b.slot = other
	r := b.run(bash("ls /work /tmp; ls -d /proc/[0-9]* | wc -l"))
	if strings.Contains(r.Output, "mine") || r.Code != 0 {
		b.t.Errorf("saw another slot: %+v", r)
	}
	b.slot = first
	_ = p.Kill()
	finish(b.t, p)
}

// testMountsGone: what a job mounts goes with it; the slot's own mounts do not grow.
func testMountsGone(b *bench) {
	b.need(sandbox.LackWalls)
	count := func() string {
		r := b.run(bash("wc -l < /proc/self/mountinfo"))
		if r.Code != 0 {
			b.t.Fatalf("%+v", r)
		}
		return r.Output
	}
	before := count()
	for range 5 {
		b.run(bash("echo x > /tmp/x"))
	}
	if after := count(); after != before {
		b.t.Errorf("mounts grew from %s to %s", before, after)
	}
}

// absent says whether what a probe printed means that this host has not got what it tries.
func absent(text string) bool {
	text = strings.ToLower(text)
	for _, e := range []syscall.Errno{syscall.ENOSYS, syscall.ENOENT, syscall.ENODEV, syscall.ENXIO, syscall.ENOTTY, syscall.EOPNOTSUPP,
		syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT} {
		if strings.HasPrefix(text, e.Error()) {
			return true
		}
	}
	return false
}
