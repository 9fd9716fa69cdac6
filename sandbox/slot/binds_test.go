package slot

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

func open(t *testing.T, i *Isolator, tmpl sandbox.Template) sandbox.Slot {
	t.Helper()
	s, err := i.Open(context.Background(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestBuildThenUse is the life of a built thing: made by the builder in a folder of the cache, read by jobs, removed.
func TestBuildThenUse(t *testing.T) {
	root(t)
	p := newPlace(t)
	i := spawn(t, p)
	out := filepath.Join(p.helper.Cache, "env-1")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	bind := sandbox.Bind{Source: out, Target: "/out", Writable: true}
	builder := open(t, i, sandbox.Template{Name: "build", Network: sandbox.NetworkNone, Build: true, Binds: []sandbox.Bind{bind}})
	if e, msg := run(t, builder, shell("mkdir /out/deep && echo made > /out/deep/file && chmod 700 /out/deep && ln -s /etc /out/link")); e.Code != 0 {
		t.Fatalf("%+v %s", e, msg)
	}
	st, err := os.Stat(filepath.Join(out, "deep/file"))
	if err != nil || st.Sys().(*syscall.Stat_t).Uid < 1_000_000_000 {
		t.Fatalf("built file: %v %v", st, err)
	}
	if e, msg := run(t, builder, shell("chmod 755 /out/deep")); e.Code != 0 {
		t.Fatalf("%+v %s", e, msg)
	}
	bind.Target, bind.Writable = "/deps", false
	user := open(t, i, sandbox.Template{Name: "exec", Network: sandbox.NetworkNone, Binds: []sandbox.Bind{bind,
		{Source: p.helper.Lib, Target: "/millrace/lib"}}})
	if e, msg := run(t, user, shell("cat /deps/deep/file; ls /millrace/lib; echo x > /deps/new")); e.Code == 0 ||
		!strings.HasPrefix(msg, "made\nforker\n") || !strings.Contains(msg, "Read-only") {
		t.Errorf("%+v %s", e, msg)
	}
	if err := i.Remove(context.Background(), out); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(out); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Fatal("a link was followed")
	}
}

func TestRefusedBinds(t *testing.T) {
	root(t)
	p := newPlace(t)
	i := spawn(t, p)
	cache := p.helper.Cache
	if err := os.Symlink("/etc", filepath.Join(cache, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(cache, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tmpl := range map[string]sandbox.Template{
		"outside":        {Binds: []sandbox.Bind{{Source: "/etc", Target: "/deps"}}},
		"root":           {Binds: []sandbox.Bind{{Source: "/", Target: "/deps"}}},
		"dots":           {Binds: []sandbox.Bind{{Source: cache + "/../../../etc", Target: "/deps"}}},
		"link":           {Binds: []sandbox.Bind{{Source: cache + "/link", Target: "/deps"}}},
		"through link":   {Binds: []sandbox.Bind{{Source: cache + "/link/ssl", Target: "/deps"}}},
		"target etc":     {Binds: []sandbox.Bind{{Source: cache + "/dir", Target: "/etc/ssl"}}},
		"target forker":  {Binds: []sandbox.Bind{{Source: cache + "/dir", Target: "/millrace/forker"}}},
		"target dots":    {Binds: []sandbox.Bind{{Source: cache + "/dir", Target: "/deps/../etc"}}},
		"twice":          {Binds: []sandbox.Bind{{Source: cache + "/dir", Target: "/deps"}, {Source: cache + "/dir", Target: "/deps"}}},
		"writable job":   {Binds: []sandbox.Bind{{Source: cache + "/dir", Target: "/out", Writable: true}}},
		"writable lib":   {Build: true, Binds: []sandbox.Bind{{Source: p.helper.Lib, Target: "/out", Writable: true}}},
		"writable cache": {Build: true, Binds: []sandbox.Bind{{Source: cache, Target: "/out", Writable: true}}},
		"missing":        {Binds: []sandbox.Bind{{Source: cache + "/nothing", Target: "/deps"}}},
		"bad network":    {Network: "all"},
		"bad name":       {Name: "../x"},
	} {
		if tmpl.Name == "" {
			tmpl.Name = "exec"
		}
		if tmpl.Network == "" {
			tmpl.Network = sandbox.NetworkNone
		}
		if s, err := i.Open(context.Background(), tmpl); err == nil {
			t.Errorf("%s: accepted", name)
			_ = s.Close()
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	for _, path := range []string{cache, "/etc", cache + "/../state", cache + "/link/ssl", "dir", ""} {
		if err := i.Remove(context.Background(), path); err == nil {
			t.Errorf("removed %q", path)
		}
	}
	if _, err := os.Stat("/etc/ssl"); err != nil {
		t.Error("a link was followed")
	}
}

// TestZygoteThatFails says what the zygote said.
func TestZygoteThatFails(t *testing.T) {
	root(t)
	i := spawn(t, newPlace(t))
	_, err := i.Open(context.Background(), sandbox.Template{Name: "python3", Network: sandbox.NetworkNone,
		Zygote: []string{"/bin/sh", "-c", "echo no module named x >&2; exit 3"}, ZygoteEnv: []string{"A=b"}})
	if err == nil || !strings.Contains(err.Error(), "no module named x") {
		t.Errorf("%v", err)
	}
}

// TestLimitsFollowTheJob: limits change with the job and fall back.
func TestLimitsFollowTheJob(t *testing.T) {
	root(t)
	p := newPlace(t)
	i := spawn(t, p)
	if i.Strength().Lacking(sandbox.LackMemory) {
		t.Skip("no memory control group here")
	}
	s := open(t, i, plain(sandbox.NetworkNone))
	hog := shell("head -c 100000000 /dev/zero | tail | wc -c")
	hog.Limits.Memory = 32 << 20
	if e, out := run(t, s, hog); !e.OOM {
		t.Errorf("100 MB in 32 MB: %+v %s", e, out)
	}
	hog.Limits.Memory = 512 << 20
	if e, out := run(t, s, hog); e.OOM || e.Code != 0 || e.Usage.MemoryPeak < 90<<20 {
		t.Errorf("100 MB in 512 MB: %+v %s", e, out)
	}
	if e, _ := run(t, s, shell("true")); e.OOM || e.Usage.MemoryPeak > 64<<20 {
		t.Errorf("the peak of the job before: %+v", e)
	}
}
