package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// PolicyConfig names what the administrator allows to be shown in slots.
type PolicyConfig struct {
	// Allow are files and folders that may be bound read-only, with everything below them.
	Allow []string
	// Cache is the folder of built things: it may be bound read-only, folders below it writable for build templates, and
	// things below it removed. Empty: none of that. It must belong to OwnerUID.
	Cache string
	// OwnerUID and OwnerGID are the daemon's; BuilderUID is the host user that build templates run as.
	OwnerUID, OwnerGID, BuilderUID int
}

// Policy decides over binds. It holds its roots open from the start: whoever renames or replaces them later, or puts links
// below them, changes nothing about what it opens.
type Policy struct {
	config PolicyConfig
	roots  []root
	cache  *os.Root // nil without a cache
}

type root struct {
	paths []string // as given, and resolved
	fd    *os.File // O_PATH
	cache bool
}

// NewPolicy opens the roots. An allowed path that does not exist is an error: it would silently allow what appears there later.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	p := &Policy{config: c}
	for _, name := range c.Allow {
		if err := p.add(name, false); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	if c.Cache == "" {
		return p, nil
	}
	if err := p.add(c.Cache, true); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	r := p.roots[len(p.roots)-1]
	var st unix.Stat_t
	if err := unix.Fstat(int(r.fd.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("cache %s: %w", c.Cache, err), p.Close())
	}
	if int(st.Uid) != c.OwnerUID || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, errors.Join(fmt.Errorf("cache %s: not a folder of user %d", c.Cache, c.OwnerUID), p.Close())
	}
	var err error
	if p.cache, err = os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", r.fd.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("cache: %w", err), p.Close())
	}
	return p, nil
}

func (p *Policy) add(name string, cache bool) error {
	if !filepath.IsAbs(name) {
		return fmt.Errorf("allow %s: not an absolute path", name)
	}
	resolved, err := filepath.EvalSymlinks(name)
	if err != nil {
		return fmt.Errorf("allow %s: %w", name, err)
	}
	if resolved == "/" {
		return fmt.Errorf("allow %s: the whole file system can not be allowed", name)
	}
	fd, err := os.OpenFile(resolved, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("allow %s: %w", name, err)
	}
	p.roots = append(p.roots, root{paths: []string{filepath.Clean(name), resolved}, fd: fd, cache: cache})
	return nil
}

// Close releases the roots.
func (p *Policy) Close() error {
	var errs []error
	for _, r := range p.roots {
		errs = append(errs, r.fd.Close())
	}
	if p.cache != nil {
		errs = append(errs, p.cache.Close())
	}
	return errors.Join(errs...)
}

// targets are the places inside a slot at or below which binds may appear.
var targets = []string{"/millrace", "/deps", "/out", "/cache", "/usr/local", "/opt"}

// MaxBinds bounds the binds of one template.
const MaxBinds = 32

// Opened are checked binds. What was checked is held open until Close; see Mount.Verify.
type Opened struct {
	Mounts []Mount
	files  []*os.File
}

// Close releases the descriptors; the mounts must have been made or given up.
func (o *Opened) Close() {
	for _, f := range o.files {
		_ = f.Close()
	}
}

// Open checks and opens the binds of t.
func (p *Policy) Open(t sandbox.Template) (*Opened, error) {
	if len(t.Binds) > MaxBinds {
		return nil, fmt.Errorf("template %s: more than %d binds", t.Name, MaxBinds)
	}
	o := &Opened{}
	seen := map[string]bool{}
	for _, b := range t.Binds {
		if err := checkTarget(b.Target); err != nil || seen[b.Target] {
			o.Close()
			return nil, errors.Join(err, fmt.Errorf("bind target %q is not possible", b.Target))
		}
		seen[b.Target] = true
		f, err := p.open(b, t.Build)
		if err != nil {
			o.Close()
			return nil, fmt.Errorf("bind %q: %w", b.Source, err)
		}
		o.files = append(o.files, f)
		o.Mounts = append(o.Mounts, Mount{Source: b.Source, Target: b.Target, Writable: b.Writable, Pin: f})
	}
	return o, nil
}

func checkTarget(t string) error {
	if !path.IsAbs(t) || path.Clean(t) != t || strings.ContainsRune(t, 0) || len(t) > 1024 {
		return errors.New("not a clean absolute path")
	}
	if t == "/millrace" || t == "/usr/local" || t == "/opt" || below(t, ForkerPath) || below(t, FilterPath) {
		return errors.New("would hide parts of the slot itself")
	}
	for _, dir := range targets {
		if below(t, dir) {
			return nil
		}
	}
	return fmt.Errorf("not below one of %s", strings.Join(targets, ", "))
}

func (p *Policy) open(b sandbox.Bind, build bool) (*os.File, error) {
	f, rel, r, err := p.resolve(b.Source)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return nil, err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && kind != unix.S_IFREG {
		_ = f.Close()
		return nil, errors.New("neither a file nor a folder")
	}
	if !b.Writable {
		return f, nil
	}
	switch {
	case !build:
		err = errors.New("only build templates have writable binds")
	case !r.cache || rel == "." || kind != unix.S_IFDIR:
		err = errors.New("only folders below the cache can be writable")
	case !below(b.Target, "/out") && !below(b.Target, "/cache"): // nowhere else does the job's Landlock domain let it write
		err = errors.New("only /out and what is in /cache can be writable")
	default:
		err = p.giveToBuilder(f, st)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// giveToBuilder makes a folder that the daemon made the builder's, the group staying the daemon's. A folder of anybody else is
// refused.
func (p *Policy) giveToBuilder(f *os.File, st unix.Stat_t) error {
	switch int(st.Uid) {
	case p.config.BuilderUID:
		return nil
	case p.config.OwnerUID:
		if err := unix.Fchownat(int(f.Fd()), "", p.config.BuilderUID, p.config.OwnerGID, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("give to the builder: %w", err)
		}
		return nil
	}
	return fmt.Errorf("belongs to user %d, who is neither the daemon nor the builder", st.Uid)
}

// resolve opens source below the root that covers it, following no link.
func (p *Policy) resolve(source string) (*os.File, string, root, error) {
	if !filepath.IsAbs(source) || filepath.Clean(source) != source || strings.ContainsRune(source, 0) {
		return nil, "", root{}, errors.New("not a clean absolute path")
	}
	for i := len(p.roots) - 1; i >= 0; i-- { // the cache first: it may lie below an allowed folder
		r := p.roots[i]
		for _, base := range r.paths {
			if !below(source, base) {
				continue
			}
			rel := "." + strings.TrimPrefix(source, base)
			how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
				Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
			fd, err := openBelow(r.fd, rel, how)
			if err != nil {
				return nil, "", root{}, err
			}
			return os.NewFile(uintptr(fd), source), rel, r, nil
		}
	}
	return nil, "", root{}, errors.New("not below a folder that the helper was started with")
}

func openBelow(dir *os.File, rel string, how *unix.OpenHow) (int, error) {
	if rel == "." { // also a root that is a file
		return unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	}
	for {
		fd, err := unix.Openat2(int(dir.Fd()), rel, how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue // something was renamed meanwhile
		}
		if err != nil {
			return -1, fmt.Errorf("open: %w", err)
		}
		return fd, nil
	}
}

// Remove removes a file or folder below the cache, whoever owns what is in it. Links are removed, not followed.
func (p *Policy) Remove(name string) error {
	if p.cache == nil {
		return errors.New("remove: there is no cache")
	}
	if !filepath.IsAbs(name) || filepath.Clean(name) != name || strings.ContainsRune(name, 0) {
		return fmt.Errorf("remove %q: not a clean absolute path", name)
	}
	for _, base := range p.roots[len(p.roots)-1].paths {
		if name == base || !below(name, base) {
			continue
		}
		if err := p.cache.RemoveAll(strings.TrimPrefix(name, base+"/")); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("remove %q: not below the cache", name)
}
