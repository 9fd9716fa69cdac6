package sandboxtest

import (
	"context"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

// testShared: what one slot's job leaves in the shared folder another one's reads, changes and removes, whatever its mode, and nobody
// else's sees it.
func testShared(b *bench) {
	sharer, ok := b.isolator.(sandbox.Sharer)
	if !ok {
		b.t.Skip("it shares no folders")
	}
	ctx := context.Background()
	const size = 8 << 20
	if err := sharer.Share(ctx, "flow-1", size); err != nil {
		b.t.Fatal(err)
	}
	if err := sharer.Share(ctx, "flow-2", size); err != nil {
		b.t.Fatal(err)
	}
	in := func(name string) *bench {
		s, err := b.isolator.Open(ctx, sandbox.Template{Name: "test", Network: sandbox.NetworkNone, Shared: name})
		if err != nil {
			b.t.Fatalf("open slot: %v", err)
		}
		b.t.Cleanup(func() { s.Close() })
		return &bench{t: b.t, isolator: b.isolator, strength: b.strength, slot: s}
	}
	one, two, stranger := in("flow-1"), in("flow-1"), in("flow-2")
	one.check(one.run(bash("cd shared; umask 077; echo a > a; mkdir d; echo b > d/b; chmod 400 a; stat -c %U a > /dev/null; ls /work/shared")), 0, "a\nd\n")
	two.check(two.run(bash("cat shared/a shared/d/b; rm -f shared/a; echo c > shared/d/c; mv shared/d shared/e; echo gone > gone")), 0, "a\nb\n")
	one.check(one.run(bash("ls shared shared/e; ls")), 0, "shared:\ne\n\nshared/e:\nb\nc\nshared\n")
	stranger.check(stranger.run(bash("ls -a shared | wc -l; test -w shared && echo mine")), 0, "2\nmine\n")
	b.check(b.run(bash("test -e shared || echo none")), 0, "none\n")
	if b.walls() && b.strength.Mode != "rootless" {
		r := one.run(bash("dd if=/dev/zero of=shared/big bs=1M count=9 2>&1 | grep -o 'No space left'; rm shared/big"))
		if !strings.Contains(r.Output, "No space left") {
			b.t.Errorf("it is not bounded: code %d output %q", r.Code, r.Output)
		}
	}
	if err := sharer.Share(ctx, "flow-1", size); err == nil {
		b.t.Error("a name was given twice")
	}
	for _, x := range []*bench{one, two} {
		if err := x.slot.Close(); err != nil {
			b.t.Error(err)
		}
	}
	if err := sharer.Unshare(ctx, "flow-1"); err != nil {
		b.t.Error(err)
	}
	if s, err := b.isolator.Open(ctx, sandbox.Template{Name: "test", Network: sandbox.NetworkNone, Shared: "flow-1"}); err == nil {
		s.Close()
		b.t.Error("a slot shows a folder that is gone")
	}
	stranger.check(stranger.run(bash("ls shared")), 0, "")
	if err := sharer.Unshare(ctx, "flow-2"); err != nil {
		b.t.Error(err)
	}
}
