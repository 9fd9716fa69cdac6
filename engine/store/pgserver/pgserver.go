// Package pgserver runs a private PostgreSQL for the daemon: it makes the cluster, starts the postmaster as a child, restarts
// it when it crashes and leaves nothing behind, whichever side dies first.
//
//	Dir/data            the cluster (initdb with checksums, UTF-8); made in Dir/data.new and renamed, so it is whole or absent
//	Dir/socket          the only way in: no TCP, mode 0700, so only the daemon's own user (and root) can connect
//	Dir/log             what postgres says, rotated; FATAL and PANIC lines also reach the daemon's log
//	Dir/lock            held (flock) while a daemon lives: two daemons never share a cluster
//	Dir/data/custom.conf  settings of the administrator; everything else in postgresql.conf is rewritten at each start
//
// Life of the child, in one goroutine (supervise):
//
//	Start -> [stray of an earlier daemon: stopped] -> launch -> ready -> exited? -> launch again, with backoff
//	Stop  -> SIGINT (fast) -> SIGQUIT (immediate) -> SIGKILL, each after a while -> Done
//
// The postmaster carries a parent death signal: a daemon that is killed takes it along by a fast shutdown.
package pgserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/rs/zerolog"
)

// Role and Database are what ConnString connects as and to.
const (
	Role     = "millrace"
	Database = "postgres"
	port     = 5432 // only a part of the socket's name
)

// Config says where and how the cluster lives.
type Config struct {
	Dir string // made if missing; absolute or relative to the working directory
	Log zerolog.Logger

	// BinDir names the folder of the server binaries. Empty: MILLRACE_PG_BINDIR, then the usual places (see FindBinaries).
	BinDir string
	// Credential is the user that postgres runs as when the daemon is root, which postgres itself refuses to be.
	// Ignored otherwise: postgres then runs as the daemon's own user. See Unprivileged.
	Credential *syscall.Credential
	// SharedBuffersMB is the size of postgres' own cache. Zero: a sixteenth of the host's memory, 128 to 2048.
	SharedBuffersMB int
	// Settings are further lines of postgresql.conf; they win over the built-in ones.
	Settings map[string]string
	// StopTimeout is the patience with a fast shutdown before an immediate one. Zero: 30 s.
	StopTimeout time.Duration
}

// Server is one managed cluster. Start and Stop may be called once each.
type Server struct {
	cfg     Config
	cred    *syscall.Credential // of postgres; nil: as the daemon
	uid     int                 // that postgres runs as
	place   place
	bins    Binaries
	lock    *os.File
	logs    *logFile
	stop    chan struct{}
	stopped sync.Once
	started atomic.Bool
	done    chan struct{}
	pid     atomic.Int64          // of the postmaster, 0 while there is none; written by launch and supervise
	err     atomic.Pointer[error] // why supervise gave up
}

// place is where the parts of a cluster are.
type place struct {
	dir, data, fresh, socket, log string
}

// New checks cfg; it touches nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, engine.Errorf(engine.Invalid, "postgres.new", "Dir is empty")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("data folder of postgres: %w", err)
	}
	if strings.ContainsAny(dir, "\n\x00") {
		return nil, engine.Errorf(engine.Invalid, "postgres.new", "the data folder's name holds a line break")
	}
	s := &Server{cfg: cfg, uid: os.Geteuid(), stop: make(chan struct{}), done: make(chan struct{})}
	if s.cfg.StopTimeout == 0 {
		s.cfg.StopTimeout = 30 * time.Second
	}
	if s.uid == 0 {
		if cfg.Credential == nil || cfg.Credential.Uid == 0 {
			return nil, &engine.Error{Code: engine.Invalid, Op: "postgres.new", Msg: "PostgreSQL does not run as root",
				Hint: "start the daemon as an unprivileged user, make a user named millrace (useradd --system millrace), or use --database-url"}
		}
		s.cred, s.uid = cfg.Credential, int(cfg.Credential.Uid)
	}
	s.place = place{dir: dir, data: filepath.Join(dir, "data"), fresh: filepath.Join(dir, "data.new"), log: filepath.Join(dir, "log")}
	return s, nil
}

// Start brings the cluster up, making it first if there is none, and returns once it takes connections. ctx bounds the start
// only. After an error nothing is left running.
func (s *Server) Start(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return engine.Errorf(engine.Conflict, "postgres.start", "started twice")
	}
	pm, err := s.bringUp(ctx)
	if err != nil {
		s.release()
		close(s.done)
		return err
	}
	go s.supervise(pm)
	return nil
}

func (s *Server) bringUp(ctx context.Context) (*postmaster, error) {
	begun := time.Now()
	if err := s.prepareFolders(); err != nil {
		return nil, err
	}
	if err := s.prepareCluster(ctx); err != nil {
		return nil, err
	}
	if err := s.removeStray(ctx); err != nil {
		return nil, err
	}
	pm, err := s.launch()
	if err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx, pm); err != nil {
		s.shutdown(pm)
		return nil, err
	}
	s.cfg.Log.Info().Int("pid", pm.pid).Int("version", s.bins.Major).Dur("took", time.Since(begun)).Msg("postgres is ready")
	return pm, nil
}

// ConnString is how to connect once Start has returned. It stays the same over restarts of the postmaster.
func (s *Server) ConnString() string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("host='%s' port=%d user=%s dbname=%s sslmode=disable", quote.Replace(s.place.socket), port, Role, Database)
}

// PID is the postmaster's, 0 while there is none.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Major is the version of the binaries in use, once Start has returned.
func (s *Server) Major() int { return s.bins.Major }

// Stop shuts postgres down and returns when it is gone. It is idempotent and safe when Start was never called or failed.
func (s *Server) Stop() {
	s.stopped.Do(func() { close(s.stop) })
	if s.started.Load() {
		<-s.done
	}
}

// Done is closed when postgres is down for good: after Stop, after a failed Start, or when it crashed again and again (see Err).
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why Done was closed without Stop; nil otherwise.
func (s *Server) Err() error {
	if p := s.err.Load(); p != nil {
		return *p
	}
	return nil
}

// release gives back what Start took besides the child.
func (s *Server) release() {
	s.pid.Store(0)
	if s.logs != nil {
		s.logs.close()
	}
	if s.lock != nil {
		if s.place.socket != "" && filepath.Dir(s.place.socket) != s.place.dir {
			_ = os.Remove(s.place.socket) // the folder elsewhere; it is empty once postgres is gone
		}
		s.lock.Close() // drops the flock
	}
}
