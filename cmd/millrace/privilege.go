package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// libDir is the folder of the product's helpers: forker, interpreter modules, wrappers.
func libDir() (string, error) {
	if dir := os.Getenv("MILLRACE_LIB"); dir != "" {
		return filepath.Abs(dir)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Join(filepath.Dir(exe), "..", "lib"), "/usr/lib/millrace"} {
		if _, err := os.Stat(filepath.Join(dir, "forker")); err == nil {
			return filepath.Clean(dir), nil
		}
	}
	return "", errors.New("the folder with millrace's helpers (forker, python, ...) was not found: run `make build`, install the package, or set MILLRACE_LIB")
}

// jailPath finds the helper binary beside this one, in the package's folder, or in PATH.
func jailPath() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, p := range []string{filepath.Join(filepath.Dir(exe), "millrace-jail"), "/usr/lib/millrace/millrace-jail"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("millrace-jail was not found beside millrace: run `make build` or install the package")
}

// asUnprivileged is called when serve was started by root: this process becomes millrace-jail, which starts serve again as an
// unprivileged user and stays root to build sandboxes for it. It does not return unless something is wrong.
func asUnprivileged(c config, args []string) error {
	uid, gid, err := owner(c.data)
	if err != nil {
		return err
	}
	if err := prepareData(c.data, uid, gid); err != nil {
		return err
	}
	jail, err := jailPath()
	if err != nil {
		return err
	}
	lib, err := libDir()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	for _, path := range []string{exe, lib, c.data} {
		if err := reachable(path, uid, gid); err != nil {
			return err
		}
	}
	argv := []string{jail, "run", "--uid", strconv.Itoa(uid), "--gid", strconv.Itoa(gid), "--cache", filepath.Join(c.data, "cache"), "--lib", lib, "--gpu-root", c.gpuRoot}
	for _, dir := range toolRoots() {
		argv = append(argv, "--allow", dir)
	}
	argv = append(argv, "--", exe, "serve")
	argv = append(argv, args...)
	argv = append(argv, "--data", c.data)    // resolved; the last one counts
	if err := os.Chdir(c.data); err != nil { // the folder we were started in may be closed to the daemon
		return err
	}
	env := append(os.Environ(), "MILLRACE_DATA="+c.data, "MILLRACE_LIB="+lib)
	return fmt.Errorf("start millrace-jail: %w", syscall.Exec(jail, argv, env))
}

// owner decides who the daemon runs as: the owner of the data folder, else who called sudo, else the system user millrace,
// else nobody.
func owner(data string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(data, &st); err == nil && st.Uid != 0 {
		return int(st.Uid), int(st.Gid), nil
	}
	if id, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && id > 0 {
		if g, err := strconv.Atoi(os.Getenv("SUDO_GID")); err == nil {
			return id, g, nil
		}
	}
	for _, name := range []string{"millrace", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, err
		}
		return uid, gid, nil
	}
	return 0, 0, errors.New("there is no user to run the daemon as: create a system user named millrace")
}

// prepareData makes the data folder and gives it to the daemon's user. An existing folder's content is left alone.
func prepareData(data string, uid, gid int) error {
	for _, dir := range []string{data, filepath.Join(data, "cache"), filepath.Join(data, "run")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
		if err := os.Lchown(dir, uid, gid); err != nil {
			return fmt.Errorf("give data folder to the daemon's user: %w", err)
		}
	}
	return nil
}

// reachable verifies that a user other than root can get to path.
func reachable(path string, uid, gid int) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !mayEnter(st, uid, gid) {
			return fmt.Errorf("%s is below %s, which the unprivileged daemon (uid %d) may not enter: "+
				"use a folder such as /var/lib/millrace with --data, or a checkout outside of it", path, dir, uid)
		}
		if dir == "/" {
			return nil
		}
	}
}

func mayEnter(st fs.FileInfo, uid, gid int) bool {
	mode := st.Mode().Perm()
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(sys.Uid) == uid:
		return mode&0o100 != 0
	case ok && int(sys.Gid) == gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}
