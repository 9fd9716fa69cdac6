package vmtest

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// suites are the packages whose tests are run in the machine, and which of them: of slots those that have to do with control groups,
// because the emulated processor is some thirty times slower, which the others have no patience for.
var suites = map[string]string{
	"cgroup": ".",
	"slot": "^(TestMeter.*|TestFull)$/^(none)?$/^(Exercise)?$/" +
		"^(Usage|Kill|Reuse|WorkSize|OpenFiles|Pids|PidsPeak|Memory|PageCache|NameCache|CPU|OutputFlood)?$",
}

// programs are what the tests use of the host, besides the libraries of those.
var programs = []string{
	"bash", "cat", "chmod", "chown", "cksum", "cp", "cut", "date", "dd", "df", "echo", "env", "false", "find", "grep", "head", "hostname", "id",
	"kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mktemp", "mount", "mv", "nproc", "printf", "ps", "readlink", "rm", "rmdir", "sed", "seq",
	"setsid", "sh", "sleep", "sort", "stat", "su", "tail", "test", "touch", "tr", "true", "truncate", "umount", "uname", "uniq", "unshare", "wc",
}

// TestVersion2 fails when a test of the machine does; each of them is a subtest here.
func TestVersion2(t *testing.T) {
	dir := os.Getenv("MILLRACE_TEST_VM")
	if dir == "" {
		why := os.Getenv("MILLRACE_TEST_VM_MISSING")
		if why == "" {
			why = "an emulated machine is slow: make test/cgroup2 starts one"
		}
		t.Skip(why)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := pack(t, disk); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048", "-nodefaults",
		"-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", disk,
		"-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all random.trust_cpu=on mitigations=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := console{t: t, start: start}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c.line(strings.TrimRight(lines.Text(), "\r"))
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("qemu: %v", err)
	}
	c.finish()
}

// console reads what the machine says.
type console struct {
	t     *testing.T
	start time.Time
	said  []string // since the last test ended
	suite int      // that have ended
	all   bool
	bad   bool
}

func (c *console) line(s string) {
	c.said = append(c.said, s)
	if rest, ok := strings.CutPrefix(s, marker+" "); ok {
		c.t.Logf("%6.1fs %s", time.Since(c.start).Seconds(), rest)
		name, how, ended := strings.Cut(rest, " ended: ")
		switch {
		case ended && how == "<nil>":
			c.suite++
		case ended || strings.HasPrefix(rest, "broken"):
			c.bad = true
			c.t.Errorf("%s: %s\n%s", name, how, strings.Join(c.said[max(0, len(c.said)-200):], "\n"))
		case rest == "all ended":
			c.all = true
		}
		return
	}
	for _, verdict := range []string{"--- PASS: ", "--- FAIL: ", "--- SKIP: "} {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(s, " "), verdict); ok {
			c.verdict(verdict, rest)
		}
	}
}

func (c *console) verdict(verdict, rest string) {
	name, _, _ := strings.Cut(rest, " ")
	said := c.said
	c.said = nil
	c.t.Run(name, func(t *testing.T) {
		switch verdict {
		case "--- FAIL: ":
			t.Errorf("%s\n%s", rest, strings.Join(said, "\n"))
		case "--- SKIP: ":
			t.Skip(rest)
		}
	})
}

func (c *console) finish() {
	if !c.all || c.suite != len(suites) && !c.bad {
		c.t.Errorf("the machine stopped after %d of %d suites:\n%s", c.suite, len(suites), strings.Join(c.said, "\n"))
	}
}

// pack makes the machine's disk.
func pack(t *testing.T, path string) error {
	work := t.TempDir()
	a, err := newArchive(path)
	if err != nil {
		return err
	}
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "tmp", "var/tmp", "root", "run"} {
		if err := a.dir(dir); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := a.link(name, "usr/"+name); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"/etc/passwd": "root:x:0:0::/root:/bin/sh\n", "/etc/group": "root:x:0:\n", "/etc/shadow": "root:*:1::::::\n",
		"/etc/hosts": "127.0.0.1 localhost\n", "/etc/resolv.conf": "", "/etc/nsswitch.conf": "hosts: files\n",
	} {
		if err := a.text(name, text, 0o644); err != nil {
			return err
		}
	}
	for _, name := range programs {
		if found, err := exec.LookPath(name); err == nil {
			if err := a.program(usr(found), found); err != nil {
				return err
			}
		}
	}
	if err := build(work); err != nil {
		return err
	}
	for name, file := range map[string]string{
		"/init": "init", "/built/bin/millrace-jail": "millrace-jail", "/built/lib/forker": "lib/forker", "/built/probe": "probe",
	} {
		if err := a.program(name, filepath.Join(work, file)); err != nil {
			return err
		}
	}
	// The suite compiles its probe; the machine has it ready, and a compiler that hands it out.
	if err := a.text("/usr/bin/gcc", "#!/bin/bash\nwhile [ \"$1\" != -o ]; do shift; done\nexec /usr/bin/cp /built/probe \"$2\"\n", 0o755); err != nil {
		return err
	}
	for s := range suites {
		if err := a.copy("/tests/"+s+".test", filepath.Join(work, s+".test")); err != nil {
			return err
		}
		if err := a.dir("/tests/" + s + ".test.d"); err != nil {
			return err
		}
	}
	return a.close()
}

// build compiles what runs in the machine.
func build(work string) error {
	script := `set -eu
for s in ` + strings.Join(slices.Sorted(maps.Keys(suites)), " ") + `; do CGO_ENABLED=0 "$GO" test -c -o "$1/$s.test" ./sandbox/$s; done
CGO_ENABLED=0 "$GO" test -c -o "$1/init" ./sandbox/cgroup/vmtest
CGO_ENABLED=1 "$GO" build -buildvcs=false -o "$1/millrace-jail" ./cmd/millrace-jail
sandbox/forker/build.sh "$1/lib" "${MILLRACE_PYTHON:-/usr/bin/python3}"
gcc -static -O1 -w -o "$1/probe" sandbox/sandboxtest/testdata/*.c`
	goTool := os.Getenv("MILLRACE_GO")
	if goTool == "" {
		goTool = "go"
	}
	cmd := exec.Command("/bin/sh", "-c", script, "build", work)
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "GO="+goTool)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for the machine: %w\n%s", err, out)
	}
	return nil
}
