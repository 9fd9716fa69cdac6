// Package rootfs knows what the inside of a slot looks like and which parts of the host may be shown there.
//
// A slot's root is a skeleton: a small directory made for it that holds nothing but mount points and links. On it are bound,
// read-only, the host's /usr, a generated /etc, a /dev of five harmless devices, the forker, and the binds of the template:
//
//	/usr /bin /sbin /lib*   the host's (links where the host has merged them)
//	/etc                    generated: users, names, resolver, certificates; nothing that is not readable by everybody
//	/dev                    null zero full random urandom, links fd stdin stdout stderr, shm -> /work
//	/proc /work             mount points; every job mounts its own
//	/tmp /var/tmp           links to /work
//	/millrace               forker, slot.bpf, and what templates bind
//
// Policy says which Template.Binds are acceptable; it takes the template for a hostile one.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// JobUID is the user and group of jobs as seen inside a slot; /etc/passwd calls it "job".
const JobUID = 1000

// Hostname is the name of every slot.
const Hostname = "millrace"

// Paths of the sandbox's own parts inside a slot.
const (
	ForkerPath = "/millrace/forker"
	FilterPath = "/millrace/slot.bpf"
	SharedPath = "/shared" // jobs see it in their work folder
)

// Mount is one bind of a slot.
type Mount struct {
	Source   string
	Target   string
	Writable bool
	Device   bool     // a device node, to be bound without nodev
	Own      bool     // whatever in it is JobUID's on the file system is the job's inside
	Pin      *os.File // what Source must turn out to be, when somebody else can change what it names; see Mount.Verify
}

// Verify tells whether what is mounted in the mount namespace with that root (a path like /proc/PID/root) is what was checked.
// A mount is made by path, so whoever can rename things on that path can make it show something else; nothing may run in the
// slot before this has been asked.
func (m Mount) Verify(root string) error {
	if m.Pin == nil {
		return nil
	}
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("verify mount %s: %w", m.Target, err)
	}
	defer dir.Close()
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := openBelow(dir, m.Target, how)
	if err != nil {
		return fmt.Errorf("verify mount %s: %w", m.Target, err)
	}
	defer unix.Close(fd)
	var got, want unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &got), unix.Fstat(int(m.Pin.Fd()), &want)); err != nil {
		return fmt.Errorf("verify mount %s: %w", m.Target, err)
	}
	if got.Dev != want.Dev || got.Ino != want.Ino {
		return fmt.Errorf("mount %s: %s was changed while it was being mounted", m.Target, m.Source)
	}
	return nil
}

// Base holds what all slots of one helper share.
type Base struct {
	dir      string // holds etc-host, etc-egress, etc-none and dev
	forker   string
	etcBinds []Mount // parts of /etc that are the host's own
}

// NewBase generates the shared parts below dir, which must be the caller's own and searchable by everybody. Forker is
// a host path.
func NewBase(dir, forker string) (*Base, error) {
	b := &Base{dir: dir, forker: forker}
	for _, n := range []sandbox.Network{sandbox.NetworkNone, sandbox.NetworkEgress, sandbox.NetworkHost} {
		if err := b.makeEtc(n); err != nil {
			return nil, fmt.Errorf("make /etc of slots: %w", err)
		}
	}
	if err := b.makeDev(); err != nil {
		return nil, fmt.Errorf("make /dev of slots: %w", err)
	}
	return b, nil
}

var devices = []string{"null", "zero", "full", "random", "urandom"}

func (b *Base) makeDev() error { return fillDev(filepath.Join(b.dir, "dev")) }

// fillDev makes the mount points and links of a slot's /dev.
func fillDev(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range devices {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"shm": "/work",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// usrDirs are those that are links into /usr on a merged host and directories elsewhere.
var usrDirs = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// Skeleton fills the empty directory root with the mount points of a slot and returns its mounts in order. Filter is
// the host path of the slot's system call filter.
func (b *Base) Skeleton(root string, network sandbox.Network, filter string, binds []Mount) ([]Mount, error) {
	if err := b.refresh(network); err != nil {
		return nil, err
	}
	mounts := []Mount{{Source: "/usr", Target: "/usr"}}
	links := map[string]string{"/tmp": "/work", "/var/tmp": "/work"}
	for _, name := range usrDirs {
		st, err := os.Lstat("/" + name)
		switch {
		case err != nil:
		case st.Mode()&os.ModeSymlink != 0:
			if links["/"+name], err = os.Readlink("/" + name); err != nil {
				return nil, fmt.Errorf("read link: %w", err)
			}
		case st.IsDir():
			mounts = append(mounts, Mount{Source: "/" + name, Target: "/" + name})
		}
	}
	mounts = append(mounts, Mount{Source: filepath.Join(b.dir, "etc-"+string(network)), Target: "/etc"})
	mounts = append(mounts, b.etcBinds...)
	mounts = append(mounts,
		Mount{Source: filepath.Join(b.dir, "dev"), Target: "/dev"},
		Mount{Source: b.forker, Target: ForkerPath},
		Mount{Source: filter, Target: FilterPath})
	for _, name := range devices {
		mounts = append(mounts, Mount{Source: "/dev/" + name, Target: "/dev/" + name, Device: true})
	}
	mounts = append(mounts, binds...)
	for _, dir := range []string{"/proc", "/work", "/var", "/run", "/millrace"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return nil, err
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, root+name); err != nil {
			return nil, err
		}
	}
	return mounts, makeTargets(root, mounts)
}

// makeTargets makes the mount points that lie in the skeleton itself. One that lies inside another mount must exist there.
func makeTargets(root string, mounts []Mount) error {
	for i, m := range mounts {
		if coveredBy(m.Target, mounts[:i]) {
			continue
		}
		st, err := m.stat()
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		path := root + m.Target
		if st.IsDir() {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return fmt.Errorf("make mount point: %w", err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (m Mount) stat() (os.FileInfo, error) {
	if m.Pin != nil {
		return m.Pin.Stat()
	}
	return os.Stat(m.Source)
}

func coveredBy(target string, mounts []Mount) bool {
	for _, m := range mounts {
		if below(target, m.Target) {
			return true
		}
	}
	return false
}

// below tells whether the clean path lies in dir or is dir.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
