package direct_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/direct"
	"github.com/millrace/millrace/sandbox/sandboxtest"
)

func TestDirect(t *testing.T) {
	sandboxtest.Exercise(t, func(t *testing.T) sandbox.Isolator {
		dir := t.TempDir()
		t.Cleanup(func() {
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("work folders left: %v", left)
			}
		})
		return direct.New(dir)
	})
}

func run(t *testing.T, tmpl sandbox.Template, spec sandbox.Spec) string {
	t.Helper()
	slot, err := direct.New(t.TempDir()).Open(context.Background(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	p, err := slot.Start(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, _ := io.ReadAll(p.Output())
	if e, err := p.Wait(context.Background()); err != nil || e.Code != 0 || e.Error != "" {
		t.Fatalf("%+v %v, output %q", e, err, out)
	}
	return string(out)
}

func TestPathsAreTranslated(t *testing.T) {
	deps, deeper := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{filepath.Join(deps, "a"): "A", filepath.Join(deeper, "b"): "B"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tmpl := sandbox.Template{Binds: []sandbox.Bind{{Source: deps, Target: "/deps"}, {Source: deeper, Target: "/deps/deeper"}}}
	out := run(t, tmpl, sandbox.Spec{
		Argv: []string{"/bin/bash", "-c", `cat /deps/a "/deps/deeper/b" "$FILES/a"; echo; echo $PATHS /depsx x/deps; cd /work && pwd`},
		Env:  []string{"FILES=/deps", "PATHS=/deps:/deps/deeper:/usr/bin", "PATH=/usr/bin:/bin"},
	})
	lines := strings.Split(out, "\n")
	want := deps + ":" + deeper + ":/usr/bin /depsx x/deps"
	if lines[0] != "ABA" || lines[1] != want || !strings.Contains(lines[2], "millrace-work-") {
		t.Errorf("output %q, want ABA, %q, work folder", out, want)
	}
}

func TestZygoteRunsOnce(t *testing.T) {
	tmpl := sandbox.Template{
		Zygote:    []string{"/bin/bash", "-c", `echo "$@" $MILLRACE_DIRECT $A; cat <&3 >&3`, "zygote"},
		ZygoteEnv: []string{"A=a", "PATH=/usr/bin:/bin"},
	}
	slot, err := direct.New(t.TempDir()).Open(context.Background(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	p, err := slot.Start(context.Background(), sandbox.Spec{Env: []string{"A=ignored"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Conn().Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	_ = p.Conn().(interface{ CloseWrite() error }).CloseWrite()
	got, _ := io.ReadAll(p.Conn())
	out, _ := io.ReadAll(p.Output())
	if string(got) != "hi" || string(out) != "--once 1 a\n" {
		t.Errorf("conn %q output %q", got, out)
	}
}
