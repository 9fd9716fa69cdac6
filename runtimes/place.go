package runtimes

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

// LibTarget is where slots see Host.Lib.
const LibTarget = "/millrace/lib"

// LibBind makes the product's helpers visible in a slot.
func (h Host) LibBind() sandbox.Bind { return sandbox.Bind{Source: h.Lib, Target: LibTarget} }

// Place says where a slot that has LibBind sees the program at file (a host path), and what else must be bound for it: nothing
// for what is part of the base system or of Lib, otherwise the program's folder, at /millrace/tools/<name>.
func (h Host) Place(name, file string) (inside string, binds []sandbox.Bind) {
	if rest, ok := strings.CutPrefix(file, h.Lib+"/"); ok && h.Lib != "" {
		return path.Join(LibTarget, rest), nil
	}
	if inBase(file) {
		return file, nil
	}
	target := path.Join("/millrace/tools", name)
	return path.Join(target, path.Base(file)), []sandbox.Bind{{Source: path.Dir(file), Target: target}}
}

// inBase says whether every slot has the file: it is part of the read-only base system.
func inBase(file string) bool {
	for _, dir := range []string{"/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return false
}

// FindTool looks for a program: what the environment variable names, then lib/tools/bin, then places, then PATH. It returns
// "" when there is none; links to places outside the base system are followed.
func FindTool(variable, lib, name string, places ...string) string {
	candidates := append([]string{os.Getenv(variable), filepath.Join(lib, "tools/bin", name)}, places...)
	if found, err := exec.LookPath(name); err == nil {
		candidates = append(candidates, found)
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); c == "" || err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			continue
		}
		abs, err := filepath.Abs(c)
		if err != nil {
			continue
		}
		if inBase(abs) || strings.HasPrefix(abs, lib+"/") {
			return abs
		}
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			return real
		}
	}
	return ""
}
