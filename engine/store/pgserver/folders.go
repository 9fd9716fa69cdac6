package pgserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/millrace/millrace/engine"
)

// maxSocketPath is sun_path of Linux without its NUL; postgres appends "/.s.PGSQL.5432" to the folder.
const maxSocketPath = 107

// Unprivileged returns a user that postgres may run as when the daemon is root: millrace, postgres or nobody, the first that
// the host has.
func Unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"millrace", "postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU == nil && errG == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, &engine.Error{Code: engine.Unavailable, Op: "postgres.user", Msg: "no unprivileged user to run PostgreSQL as",
		Hint: "useradd --system --no-create-home millrace"}
}

// prepareFolders makes the folders, takes the lock and opens the log. Everything later runs under the lock.
func (s *Server) prepareFolders() error {
	if err := os.MkdirAll(filepath.Dir(s.place.dir), 0o755); err != nil {
		return fmt.Errorf("data folder of postgres: %w", err)
	}
	if err := s.ownFolder(s.place.dir); err != nil {
		return err
	}
	if err := s.checkWay(); err != nil {
		return err
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	if err := s.placeSocket(); err != nil {
		return err
	}
	if err := os.Mkdir(s.place.log, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("log folder of postgres: %w", err)
	}
	var err error
	s.logs, err = openLog(filepath.Join(s.place.log, "postgres.log"), s.cfg.Log)
	return err
}

// ownFolder makes dir as a folder of postgres' user with mode 0700, or checks that it is one.
func (s *Server) ownFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil && s.cred != nil {
		err = os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid))
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("folder of postgres: %w", err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("folder of postgres: %w", err)
	}
	owner := int(st.Sys().(*syscall.Stat_t).Uid)
	if !st.IsDir() {
		return &engine.Error{Code: engine.Invalid, Op: "postgres.start", Path: dir, Msg: "is not a folder"}
	}
	if owner != s.uid {
		return &engine.Error{Code: engine.Invalid, Op: "postgres.start", Path: dir,
			Msg:  fmt.Sprintf("belongs to uid %d, but postgres would run as uid %d", owner, s.uid),
			Hint: fmt.Sprintf("chown -R %d %s, or choose another --data folder", s.uid, dir)}
	}
	if st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("folder of postgres: %w", err)
		}
	}
	return nil
}

// checkWay verifies that postgres' user can enter every folder above Dir: postgres' own words for that are obscure.
func (s *Server) checkWay() error {
	if s.cred == nil {
		return nil
	}
	for d := filepath.Dir(s.place.dir); ; d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("data folder of postgres: %w", err)
		}
		sys, bit := st.Sys().(*syscall.Stat_t), os.FileMode(0o001)
		if sys.Uid == s.cred.Uid {
			bit = 0o100
		} else if sys.Gid == s.cred.Gid {
			bit = 0o010
		}
		if st.Mode().Perm()&bit == 0 {
			return &engine.Error{Code: engine.Invalid, Op: "postgres.start", Path: s.place.dir,
				Msg:  fmt.Sprintf("uid %d, which postgres runs as, cannot enter %s", s.cred.Uid, d),
				Hint: "chmod a+x " + d + ", or choose another --data folder, such as /var/lib/millrace"}
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// takeLock makes sure that no other daemon uses the folder; its postmaster would otherwise look like a stray one.
func (s *Server) takeLock() error {
	path := filepath.Join(s.place.dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock of the postgres folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0) // a missing pid only makes the message shorter
		f.Close()
		return &engine.Error{Code: engine.Conflict, Op: "postgres.start", Path: s.place.dir,
			Msg:  "another daemon uses this data folder (pid " + string(holder[:n]) + ")",
			Hint: "stop it, or choose another --data folder", Err: err}
	}
	s.lock = f
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("lock of the postgres folder: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return explain(fmt.Errorf("lock of the postgres folder: %w", err))
	}
	return nil
}

// placeSocket chooses Dir/socket, or a short folder of our own elsewhere when that name is too long for a socket or holds
// characters that connection strings cannot carry (a comma separates hosts there).
func (s *Server) placeSocket() error {
	s.place.socket = filepath.Join(s.place.dir, "socket")
	if fits(s.place.socket) {
		return s.ownFolder(s.place.socket)
	}
	sum := sha256.Sum256([]byte(s.place.dir))
	name := fmt.Sprintf("millrace-%d-%s", s.uid, hex.EncodeToString(sum[:4]))
	for _, base := range []string{os.Getenv("RUNTIME_DIRECTORY"), os.Getenv("XDG_RUNTIME_DIR"), "/run/millrace", "/tmp"} {
		dir := filepath.Join(base, name)
		if !filepath.IsAbs(dir) || !fits(dir) {
			continue
		}
		if base != "/tmp" && s.cred != nil {
			continue // folders of the session of root, which postgres' user may not enter
		}
		if err := s.ownFolder(dir); err == nil {
			s.place.socket = dir
			return nil
		} else if base == "/tmp" {
			return err
		}
	}
	return engine.Errorf(engine.Invalid, "postgres.start", "no folder for the socket of postgres")
}

func fits(dir string) bool {
	return !strings.ContainsAny(dir, ",'\"\\") && len(dir)+len(fmt.Sprintf("/.s.PGSQL.%d", port)) <= maxSocketPath
}
