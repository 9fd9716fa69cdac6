package rootfs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox"
)

func TestSkeleton(t *testing.T) {
	dir := t.TempDir()
	b, err := NewBase(dir, "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	extra := filepath.Join(dir, "extra")
	if err := os.Mkdir(extra, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkHost} {
		root := filepath.Join(t.TempDir(), "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		mounts, err := b.Skeleton(root, n, "/bin/true", []Mount{{Source: extra, Target: "/deps/a/b"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			if m.Writable {
				t.Errorf("%s is writable", m.Target)
			}
			if strings.HasPrefix(m.Target, "/etc/") || strings.HasPrefix(m.Target, "/dev/") {
				continue // inside another mount
			}
			if _, err := os.Lstat(root + m.Target); err != nil {
				t.Errorf("no mount point: %v", err)
			}
		}
		for link, want := range map[string]string{"/tmp": "/work", "/var/tmp": "/work"} {
			if got, err := os.Readlink(root + link); err != nil || got != want {
				t.Errorf("%s -> %q %v", link, got, err)
			}
		}
	}
}

func TestEtcTellsNothing(t *testing.T) {
	dir := t.TempDir()
	b, err := NewBase(dir, "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shadow", "ssl/private", "sudoers", "ssh", "machine-id"} {
		if _, err := os.Lstat(filepath.Join(dir, "etc-host", name)); err == nil {
			t.Errorf("/etc/%s is there", name)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "etc-none", "passwd"))
	if err != nil || bytes.Count(data, []byte("\n")) != 3 || !bytes.Contains(data, []byte("job:x:1000:1000:")) {
		t.Errorf("passwd %q %v", data, err)
	}
	if err := b.refresh(sandbox.NetworkHost); err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		if got, _ := os.ReadFile(filepath.Join(dir, "etc-host/resolv.conf")); !bytes.Equal(got, want) {
			t.Errorf("resolv.conf %q", got)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "etc-none/resolv.conf")); len(got) != 0 {
			t.Errorf("a slot without network knows resolvers: %q", got)
		}
	}
}

func TestCopier(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	outside := filepath.Join(t.TempDir(), "ca.pem")
	for path, text := range map[string]string{
		outside: "outside", from + "/services": "s", from + "/magic": "-----BEGIN PRIVATE KEY-----", from + "/rpc": "hidden",
		from + "/ssl/certs/a.pem": "a",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(from+"/rpc", 0o640); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"b.0": "a.pem", "c.0": outside, "d.0": "/usr/share/ca.pem", "e.0": "/nothing"} {
		if err := os.Symlink(target, from+"/ssl/certs/"+link); err != nil {
			t.Fatal(err)
		}
	}
	c := copier{root: from, to: to}
	for _, name := range []string{"services", "magic", "rpc", "ssl/certs", "missing"} {
		if err := c.copy(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"services": "s", "ssl/certs/a.pem": "a", "ssl/certs/b.0": "a", "ssl/certs/c.0": "outside"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if l, err := os.Readlink(to + "/ssl/certs/d.0"); err != nil || l != "/usr/share/ca.pem" {
		t.Errorf("link into /usr: %q %v", l, err)
	}
	for _, name := range []string{"magic", "rpc", "missing", "ssl/certs/e.0"} {
		if _, err := os.Lstat(filepath.Join(to, name)); err == nil {
			t.Errorf("%s was copied", name)
		}
	}
	if c.bindable("ssl/certs") {
		t.Error("a folder with links to elsewhere was to be bound")
	}
}

func policy(t *testing.T) (*Policy, string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"cache/a", "lib"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p, err := NewPolicy(PolicyConfig{Allow: []string{dir + "/lib"}, Cache: dir + "/cache",
		OwnerUID: os.Geteuid(), OwnerGID: os.Getegid(), BuilderUID: os.Geteuid()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, dir
}

// TestSwapped: what is swapped under a checked path does not stay unseen.
func TestSwapped(t *testing.T) {
	p, dir := policy(t)
	o, err := p.Open(sandbox.Template{Name: "exec", Binds: []sandbox.Bind{{Source: dir + "/cache/a", Target: "/deps"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	root := filepath.Join(dir, "root") // stands for the slot's
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../cache/a", root+"/deps"); err != nil {
		t.Fatal(err)
	}
	if err := o.Mounts[0].Verify(root); err == nil {
		t.Error("a link out of the root was followed")
	}
	if err := os.Remove(root + "/deps"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root+"/deps", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := o.Mounts[0].Verify(root); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("another folder was taken for the checked one: %v", err)
	}
	if err := os.Remove(root + "/deps"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/cache/a", root+"/deps"); err != nil {
		t.Fatal(err)
	}
	if err := o.Mounts[0].Verify(root); err != nil {
		t.Errorf("the checked folder itself: %v", err)
	}
}

func TestCacheReplacedByLink(t *testing.T) {
	p, dir := policy(t)
	victim := filepath.Join(dir, "victim")
	if err := os.MkdirAll(victim+"/a", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/cache", dir+"/old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, dir+"/cache"); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(dir + "/cache/a"); err != nil { // it removes from the folder that was opened at the start
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(victim + "/a"); err != nil {
		t.Error("removed through a link")
	}
	if _, err := os.Stat(dir + "/old/a"); err == nil {
		t.Error("not removed from the cache")
	}
}

func TestNewPolicyRefuses(t *testing.T) {
	dir := t.TempDir()
	me := PolicyConfig{OwnerUID: os.Geteuid()}
	for name, c := range map[string]PolicyConfig{
		"relative":      {Allow: []string{"lib"}},
		"whole system":  {Allow: []string{"/"}},
		"missing":       {Allow: []string{dir + "/nothing"}},
		"foreign cache": {Cache: dir, OwnerUID: me.OwnerUID + 1},
		"file as cache": {Cache: "/etc/passwd", OwnerUID: 0},
	} {
		if p, err := NewPolicy(c); err == nil {
			t.Errorf("%s: accepted", name)
			_ = p.Close()
		}
	}
}

// TestRemoveDeepTree: no tree that a builder can make is too deep to be removed.
func TestRemoveDeepTree(t *testing.T) {
	p, dir := policy(t)
	root, err := os.OpenRoot(dir + "/cache/a")
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		if err := root.Mkdir("d", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := root.OpenRoot("d")
		_ = root.Close()
		if err != nil {
			t.Fatal(err)
		}
		root = next
	}
	_ = root.Close()
	if err := p.Remove(dir + "/cache/a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir + "/cache/a"); err == nil {
		t.Error("still there")
	}
}
