package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// whole is a host with everything.
var whole = host{release: "6.1.0-30-amd64", namespaces: namespaces, userLimit: "96000", seccomp: "kill_process errno allow",
	cgroups: cgroups{"v2", controllers}}

func TestReadCgroups(t *testing.T) {
	const (
		unified = `30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate` + "\n"
		tmpfs   = `30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755` + "\n"
		memory  = `33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory` + "\n"
		pids    = `34 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids` + "\n"
		cpu     = `35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct` + "\n"
		beside  = `31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw` + "\n"
	)
	cases := []struct {
		name, mounts, unified string
		want                  cgroups
	}{
		{"v2", unified, "cpuset cpu io memory hugetlb pids", cgroups{"v2", []string{"memory", "pids", "cpu"}}},
		{"v2 without memory", unified, "cpu pids", cgroups{"v2", []string{"pids", "cpu"}}},
		{"v1", tmpfs + memory + pids + cpu, "", cgroups{"v1", []string{"memory", "pids", "cpu"}}},
		{"hybrid", tmpfs + beside + memory + cpu, "", cgroups{"hybrid", []string{"memory", "cpu"}}},
		{"none", tmpfs, "", cgroups{}},
	}
	for _, c := range cases {
		got := readCgroups(strings.NewReader(c.mounts), c.unified)
		if got.mode != c.want.mode || !slices.Equal(got.controllers, c.want.controllers) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestHostChecks(t *testing.T) {
	cases := []struct {
		name   string
		change func(*host)
		check  string
		want   Status
		mode   string
	}{
		{"all there", func(*host) {}, "version", OK, "full"},
		{"old kernel", func(h *host) { h.release = "5.4.0-91-generic" }, "version", Missing, "full"},
		{"unreadable release", func(h *host) { h.release = "custom" }, "version", OK, "full"},
		{"no network namespaces", func(h *host) { h.namespaces = []string{"pid", "mnt", "ipc", "uts", "user"} }, "namespaces", Missing, "full"},
		{"user namespaces off", func(h *host) { h.userLimit = "0" }, "user namespaces", Missing, "full"},
		{"user namespaces for root only, as root", func(h *host) { h.apparmor = "1" }, "user namespaces", OK, "full"},
		{"user namespaces for root only, as user", func(h *host) { h.apparmor, h.euid = "1", 1000 }, "user namespaces", Warning, "none"},
		{"Debian's switch", func(h *host) { h.userClone, h.euid = "0", 1000 }, "user namespaces", Warning, "none"},
		{"as user", func(h *host) { h.euid = 1000 }, "privileges", Warning, "rootless"},
		{"no cgroups", func(h *host) { h.cgroups = cgroups{} }, "control groups", Warning, "full"},
		{"no memory controller", func(h *host) { h.cgroups.controllers = []string{"pids", "cpu"} }, "control groups", Warning, "full"},
		{"no seccomp", func(h *host) { h.seccomp = "" }, "seccomp filters", Missing, "full"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := whole
			c.change(&h)
			checks := append(h.checkKernel(), h.checkSandbox()...)
			i := slices.IndexFunc(checks, func(k Check) bool { return k.Name == c.check })
			if i < 0 || checks[i].Status != c.want {
				t.Fatalf("%s is %+v, want %s", c.check, checks[i], c.want)
			}
			if checks[i].Status != OK && (checks[i].Why == "" || checks[i].Fix == "") {
				t.Errorf("%s is %s without saying why and how to mend it: %+v", c.check, checks[i].Status, checks[i])
			}
			s := h.strength()
			if s.Mode != c.mode {
				t.Errorf("mode %s, want %s", s.Mode, c.mode)
			}
			for _, l := range s.Lacks {
				if l.What == "" || l.Why == "" || l.Fix == "" {
					t.Errorf("half a lack: %+v", l)
				}
			}
		})
	}
}

// tongue is a Runtime that is only ever asked for its tools.
type tongue struct {
	runtimes.Runtime
	name string
	host runtimes.Host
	err  error
}

func (l tongue) Info() runtimes.Info {
	return runtimes.Info{Name: l.name, Title: strings.ToUpper(l.name)}
}

func (l tongue) Detect(context.Context, string) (runtimes.Host, error) { return l.host, l.err }

func TestExamine(t *testing.T) {
	r := runtimes.NewRegistry()
	r.Register(tongue{name: "a", host: runtimes.Host{Tool: "/usr/bin/a", Version: "1.2"}})
	r.Register(tongue{name: "b", err: &runtimes.Missing{What: "bb", Fix: "install bb"}})
	r.Register(tongue{name: "c", err: errors.New("crashes")})
	lib := t.TempDir()
	if err := os.WriteFile(filepath.Join(lib, "forker"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "not", "yet")
	report := Examine(t.Context(), Config{Data: data, Lib: lib, DatabaseURL: "postgres://x", Registry: r,
		Strength: func(context.Context) (sandbox.Strength, error) {
			return sandbox.Strength{Mode: "rootless", Lacks: []sandbox.Lack{{What: "w", Why: "y", Fix: "f"}}}, nil
		}})
	got := map[string]Check{}
	for _, c := range report.Checks {
		got[c.Area+"/"+c.Name] = c
	}
	for name, want := range map[string]Check{
		"languages/a":     {Status: OK, Value: "A 1.2 (/usr/bin/a)"},
		"languages/b":     {Status: Warning, Value: "not installed", Why: "scripts in B can not run: bb is missing", Fix: "install bb"},
		"languages/c":     {Status: Warning, Value: "does not work", Why: "crashes", Fix: "reinstall C"},
		"postgres/server": {Status: OK, Value: "an external one (--database-url)"},
		"sandbox/helpers": {Status: OK, Value: lib},
	} {
		c := got[name]
		if c.Status != want.Status || c.Value != want.Value || c.Why != want.Why || c.Fix != want.Fix {
			t.Errorf("%s: %+v, want %+v", name, c, want)
		}
	}
	if report.Disk == nil || report.Disk.FsyncP50 <= 0 || report.Disk.FsyncP99 < report.Disk.FsyncP50 || report.Disk.FreeMB <= 0 {
		t.Errorf("disk %+v", report.Disk)
	}
	if left, _ := filepath.Glob(filepath.Join(report.Disk.Folder, ".millrace-doctor-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if report.Isolation.Mode != "rootless" || len(report.Isolation.Lacks) != 1 {
		t.Errorf("isolation %+v", report.Isolation)
	}
	if _, err := json.Marshal(report); err != nil {
		t.Error(err)
	}
}

func TestExamineWithoutHelpers(t *testing.T) {
	report := Examine(t.Context(), Config{Data: t.TempDir(), DatabaseURL: "postgres://x",
		Strength: func(context.Context) (sandbox.Strength, error) { return sandbox.Strength{}, errors.New("no jail") }})
	if report.OK {
		t.Error("a host without the forker is called fit")
	}
	if report.Isolation.Mode != "none" || len(report.Isolation.Lacks) != 1 || report.Isolation.Lacks[0].Why != "no jail" {
		t.Errorf("isolation %+v", report.Isolation)
	}
}
