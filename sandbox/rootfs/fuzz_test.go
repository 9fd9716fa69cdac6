package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

// crooked is a policy over folders with every kind of trap in them. The result is the folder around it all.
func crooked(f *testing.F) (*Policy, string) {
	f.Helper()
	dir := f.TempDir()
	for _, d := range []string{"cache/a/deep", "lib/b", "lib-other", "secret"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	for _, name := range []string{"cache/file", "lib/file", "secret/key", "lib-other/file"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"cache/up": "..", "cache/a/out": "../../secret", "cache/abs": dir + "/secret", "lib/up": "../secret/key",
		"lib/etc": "/etc", "cache/self": ".", "cache/root": "/",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			f.Fatal(err)
		}
	}
	p, err := NewPolicy(PolicyConfig{Allow: []string{dir + "/lib"}, Cache: dir + "/cache",
		OwnerUID: os.Geteuid(), OwnerGID: os.Getegid(), BuilderUID: os.Geteuid()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = p.Close() })
	return p, dir
}

var crookedPaths = []string{
	"", "/", "/cache", "/lib", "/cache/a", "/cache/a/deep", "/cache/file", "/lib/b", "/lib/file", "/lib-other", "/secret/key",
	"/cache/..", "/cache/../secret", "/cache/a/../../secret", "/cache/up/secret", "/cache/up", "/cache/a/out/key", "/cache/abs/key",
	"/lib/up", "/lib/etc/passwd", "/cache/self/a", "/cache//a", "/cache/a/", "/cache/./a", "/lib/../secret", "/cache\x00/a",
	"/cache/root/etc/passwd", "/lib/file/x", "/lib/" + strings.Repeat("d/", 2000),
}

// FuzzPolicy: whatever a template binds, what is opened lies below a folder that the administrator allowed, is named by no link,
// and only folders below the cache become writable, in builds.
func FuzzPolicy(f *testing.F) {
	p, dir := crooked(f)
	for i, path := range crookedPaths {
		f.Add(path, "/deps", i%2 == 0, i%3 == 0, i%5 != 0)
		f.Add(path, "/out", true, true, true)
	}
	for _, target := range []string{"/", "/millrace", ForkerPath, FilterPath, "/usr/bin", "/proc", "/work", "/deps/../etc", "/out/../etc", "deps", ""} {
		f.Add("/lib/b", target, false, false, true)
		f.Add("/cache/a", target, true, true, true)
	}
	f.Fuzz(func(t *testing.T, source, target string, writable, build, inside bool) {
		if inside {
			source = dir + source
		}
		o, err := p.Open(sandbox.Template{Name: "fuzz", Build: build, Binds: []sandbox.Bind{{Source: source, Target: target, Writable: writable}}})
		if err != nil {
			return
		}
		defer o.Close()
		if len(o.Mounts) != 1 || o.Mounts[0].Pin == nil {
			t.Fatalf("%+v", o.Mounts)
		}
		real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", o.Mounts[0].Pin.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if real != source {
			t.Errorf("%q was opened as %q", source, real)
		}
		cache := below(real, dir+"/cache")
		if !cache && !below(real, dir+"/lib") {
			t.Errorf("opened %q", real)
		}
		if writable && (!build || !cache || real == dir+"/cache") {
			t.Errorf("%q can be written", real)
		}
		switch clean := filepath.Clean(target); {
		case clean != target || !strings.HasPrefix(target, "/"), below(ForkerPath, target), below(FilterPath, target), target == "/usr/local":
			t.Errorf("target %q", target)
		case writable && !below(target, "/out") && !below(target, "/cache"):
			t.Errorf("writable target %q", target)
		}
	})
}

// FuzzRemove: whatever is to be removed, what lies outside of the cache stays, and the cache itself too.
func FuzzRemove(f *testing.F) {
	p, dir := crooked(f)
	for _, path := range crookedPaths {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		_ = p.Remove(dir + path)
		_ = p.Remove(path)
		for _, name := range []string{"cache", "secret/key", "lib/file", "lib/b", "lib-other/file"} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				t.Fatalf("after Remove(%q): %v", path, err)
			}
		}
	})
}
