package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox/cgroup"
)

// instance is one helper's share of the state directory: STATE/<number>, locked for as long as the helper lives. Several
// helpers can run on one machine; a number whose lock is free belongs to none, and what it left is swept.
//
//	STATE/0/lock      held by the living helper
//	STATE/0/oci/      libcontainer's state
//	STATE/0/slots/    one skeleton a slot
//	STATE/0/etc-*, dev, slot-*.bpf
type instance struct {
	number int
	dir    string
	lock   *os.File
}

func takeInstance(state string, groups *cgroup.Tree, log zerolog.Logger) (*instance, error) {
	if err := makeState(state); err != nil {
		return nil, err
	}
	var mine *instance
	for k := range maxInstances {
		dir := filepath.Join(state, strconv.Itoa(k))
		if _, err := os.Stat(dir); mine != nil && err != nil {
			continue
		}
		i, err := tryInstance(dir, k)
		if err != nil {
			return nil, err
		}
		if i == nil {
			continue // somebody lives there
		}
		if err := i.sweep(groups); err != nil {
			log.Warn().Err(err).Int("instance", k).Msg("leftovers of a killed helper remain")
		}
		if mine == nil {
			mine = i
		} else if err := i.release(); err != nil {
			log.Warn().Err(err).Int("instance", k).Msg("leftovers of a killed helper remain")
		}
	}
	if mine == nil {
		return nil, fmt.Errorf("%s: %d helpers are running already", state, maxInstances)
	}
	if err := os.Mkdir(filepath.Join(mine.dir, "slots"), 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, errors.Join(fmt.Errorf("make state: %w", err), mine.release())
	}
	return mine, nil
}

// makeState makes the state directory, or checks that nobody else can change the one that is there.
func makeState(state string) error {
	if !filepath.IsAbs(state) || filepath.Clean(state) != state {
		return fmt.Errorf("state directory %q: not a clean absolute path", state)
	}
	if err := os.MkdirAll(state, 0o711); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(state, &st); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("state directory %s: must be a folder that only its owner, user %d, can write", state, os.Geteuid())
	}
	return nil
}

// tryInstance locks dir; nil when another helper has it.
func tryInstance(dir string, number int) (*instance, error) {
	for {
		if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make state: %w", err)
		}
		path := filepath.Join(dir, "lock")
		lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // released between the two calls
		}
		if err != nil {
			return nil, fmt.Errorf("open lock: %w", err)
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = lock.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if same(lock, path) {
			return &instance{number: number, dir: dir, lock: lock}, nil
		}
		_ = lock.Close() // its holder removed it as we opened it
	}
}

func same(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// sweep removes what the last holder of the number left, control groups with their processes first.
func (i *instance) sweep(groups *cgroup.Tree) error {
	prefix := strconv.Itoa(i.number) + "-"
	err := groups.Sweep(func(name string) bool { return strings.HasPrefix(name, prefix) })
	return errors.Join(err, i.clear())
}

// clear removes everything but the lock.
func (i *instance) clear() error {
	entries, err := os.ReadDir(i.dir)
	if err != nil {
		return fmt.Errorf("clear state: %w", err)
	}
	errs := []error{i.clearShared()}
	for _, e := range entries {
		if e.Name() != "lock" {
			errs = append(errs, os.RemoveAll(filepath.Join(i.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// release removes the instance's directory and gives its number back.
func (i *instance) release() error {
	err := errors.Join(i.clear(), os.Remove(filepath.Join(i.dir, "lock")), os.Remove(i.dir))
	return errors.Join(err, i.lock.Close())
}

// group names the control group of a slot.
func (i *instance) group(slot int) string { return fmt.Sprintf("%d-%d", i.number, slot) }
