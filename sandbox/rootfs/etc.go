package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

const (
	passwd = "root:x:0:0:root:/work:/usr/sbin/nologin\njob:x:1000:1000:job:/work:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	group  = "root:x:0:\njob:x:1000:\nnogroup:x:65534:\n"
	hosts  = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + Hostname + "\n"
	// The plain files and DNS: what a host adds (systemd, LDAP, mDNS) talks to daemons that a slot does not see.
	nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n"
)

// copied are the parts of the host's /etc that programs need. A part that is missing is skipped, and so is every file in them
// that not everybody may read.
var copied = []string{
	"alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "mime.types", "protocols", "services",
	"networks", "rpc", "gai.conf", "host.conf", "os-release", "debian_version", "redhat-release", "system-release", "lsb-release",
	"ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem", "pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf",
	"ca-certificates", "crypto-policies", "magic", "magic.mime", "terminfo", "inputrc", "fonts", "python3", "perl",
	"bindresvport.blacklist", "nanorc", "locale.alias", "default/locale", "locale.conf", "java", "php", "R", "ImageMagick-6",
	"ImageMagick-7", "OpenCL", "vulkan", "glvnd",
}

// visible are the places that a link copied from /etc may go on pointing at, because a slot has them too.
var visible = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc/self"}

// Bounds of what is copied: /etc of slots lives in memory on most hosts.
const (
	maxCopiedFile  = 4 << 20
	maxCopiedFiles = 8000
)

func (b *Base) makeEtc(network sandbox.Network) error {
	dir := filepath.Join(b.dir, "etc-"+string(network))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	b.etcBinds = nil
	c := copier{root: "/etc", to: dir}
	for _, name := range copied {
		if c.bindable(name) {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				return err
			}
			b.etcBinds = append(b.etcBinds, Mount{Source: filepath.Join("/etc", name), Target: filepath.Join("/etc", name)})
			continue
		}
		if err := c.copy(name); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"passwd": passwd, "group": group, "hosts": hosts, "nsswitch.conf": nsswitch, "resolv.conf": "", "hostname": Hostname + "\n",
	} {
		if err := writeFile(filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// refresh brings the names that a slot on the host's network resolves up to date. Slots that are open see it too: /etc is
// bound as a directory.
func (b *Base) refresh(network sandbox.Network) error {
	switch network {
	case sandbox.NetworkEgress:
		return b.refreshEgress()
	case sandbox.NetworkNone:
		return nil
	}
	for _, name := range []string{"resolv.conf", "hosts"} {
		text, err := os.ReadFile("/etc/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read host names: %w", err)
		}
		if name == "hosts" {
			text = append(bytes.TrimRight(text, "\n"), "\n127.0.1.1\t"+Hostname+"\n"...)
		}
		path := filepath.Join(b.dir, "etc-host", name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := writeFile(path, text); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces path in one step, so that no reader sees half a file.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// smallDir is up to how many entries a folder is copied; a larger one is quicker bound, and then follows the host's.
const smallDir = 16

type copier struct {
	root, to string
	files    int
}

// bindable tells whether name is a large folder that means the same inside a slot as outside: it is open to everybody and no
// link in it points where a slot has nothing.
func (c *copier) bindable(name string) bool {
	src := filepath.Join(c.root, name)
	if st, err := os.Lstat(src); err != nil || !st.IsDir() || st.Mode().Perm()&0o005 != 0o005 {
		return false
	}
	n := 0
	err := filepath.WalkDir(src, func(path string, e fs.DirEntry, err error) error {
		n++
		if err != nil || e.Type()&os.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(path)
		if err == nil && !c.keeps(resolved(path, target)) {
			err = fs.ErrInvalid
		}
		return err
	})
	return err == nil && n > smallDir
}

func resolved(link, target string) string {
	if filepath.IsAbs(target) {
		return filepath.Clean(target)
	}
	return filepath.Join(filepath.Dir(link), target)
}

// copy brings name and what is below it from root to to.
func (c *copier) copy(name string) error {
	src, dst := filepath.Join(c.root, name), filepath.Join(c.to, name)
	st, err := os.Lstat(src)
	if err != nil || c.files >= maxCopiedFiles {
		return nil // missing, or hidden from us: so it is for slots
	}
	c.files++
	switch {
	case st.IsDir():
		if st.Mode().Perm()&0o005 != 0o005 {
			return nil
		}
		entries, err := os.ReadDir(src)
		if err != nil {
			return nil
		}
		if err := os.MkdirAll(dst, 0o755); err != nil {
			return err
		}
		for _, e := range entries {
			if err := c.copy(filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
		return nil
	case st.Mode()&os.ModeSymlink != 0:
		return c.link(src, dst)
	case st.Mode().IsRegular():
		return c.file(src, dst)
	}
	return nil
}

// link keeps a link whose target a slot has, and replaces any other by what it points at.
func (c *copier) link(src, dst string) error {
	target, err := os.Readlink(src)
	if err != nil {
		return nil
	}
	if c.keeps(resolved(src, target)) {
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		return os.Symlink(target, dst)
	}
	return c.file(src, dst)
}

func (c *copier) keeps(at string) bool {
	for _, v := range visible {
		if below(at, v) {
			return true
		}
	}
	for _, name := range copied {
		if below(at, filepath.Join(c.root, name)) {
			return true
		}
	}
	return false
}

func (c *copier) file(src, dst string) error {
	st, err := os.Stat(src)
	if err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o004 == 0 || st.Size() > maxCopiedFile {
		return nil
	}
	data, err := os.ReadFile(src)
	if err != nil {
		return nil
	}
	if strings.Contains(string(data[:min(len(data), 4096)]), "PRIVATE KEY") {
		return nil // some tools keep keys beside certificates, readable or not
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o644)
}
