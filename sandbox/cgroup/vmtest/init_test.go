package vmtest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain makes this binary the init of the machine that it builds.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 && len(os.Args) > 0 && os.Args[0] == "/init" {
		if err := inside(); err != nil {
			fmt.Println(marker, "broken:", err)
		}
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		select {} // the kernel panics when its init ends
	}
	os.Exit(m.Run())
}

// marker begins the lines by which the machine tells the test how it went.
const marker = "vmtest:"

// inside is what the machine does: mount, run the tests, say how they ended.
func inside() error {
	if err := leaveMemoryDisk(); err != nil {
		return err
	}
	for _, m := range []struct {
		kind, at, data string
	}{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""}, {"cgroup2", "/sys/fs/cgroup", ""}, {"tmpfs", "/tmp", "mode=1777"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	groups, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		return err
	}
	fmt.Printf("%s controllers %s", marker, groups)
	tests, err := filepath.Glob("/tests/*.test")
	if err != nil {
		return err
	}
	for _, test := range tests {
		cmd := exec.Command(test, "-test.v", "-test.timeout=30m", "-test.run="+suites[strings.TrimSuffix(filepath.Base(test), ".test")])
		cmd.Dir = "/tests/" + filepath.Base(test) + ".d"
		cmd.Env = []string{"PATH=/usr/bin:/usr/sbin", "TMPDIR=/tmp", "HOME=/tmp", "SLOT_TEST_BUILT=/built"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		err := cmd.Run()
		fmt.Println(marker, filepath.Base(test), "ended:", err)
	}
	fmt.Println(marker, "all ended")
	return nil
}

// leaveMemoryDisk moves to a file system of its own: the kernel's first one can not be pivoted away from, which slots do.
func leaveMemoryDisk() error {
	const fresh = "/fresh"
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("root", fresh, "tmpfs", 0, "size=90%,mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == fresh || path == "/dev":
			return fs.SkipDir
		case path == "/":
			return nil
		}
		return move(path, fresh+path, d)
	})
	if err != nil {
		return err
	}
	if err := os.Chdir(fresh); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	return os.Chdir("/")
}

// move copies a file and removes the original, so that there is never more than one in memory.
func move(from, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return os.Mkdir(to, info.Mode().Perm())
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !info.Mode().IsRegular():
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.Remove(from); err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}
