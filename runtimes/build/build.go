// Package build carries out recipes: it runs their steps in build slots and keeps what they leave in /out.
//
// Layout below Config.CacheDir:
//
//	out/<key>                  finished artifacts; a folder is there only when it is complete
//	tmp/<key>.<n>              artifacts in the making
//	build/<workspace>/<name>   caches of one workspace, seen by its recipes at /cache/<name>
//	build/@shared/<name>       caches of all workspaces: those whose name begins with "shared-"
//
// A shared cache is only for tools that never run what they download or compile; otherwise one workspace could plant code
// for another.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Config says where and with what to build.
type Config struct {
	Isolator sandbox.Isolator
	CacheDir string
	// Remove deletes a folder whose content may belong to the builder uid. Nil: os.RemoveAll.
	Remove func(path string) error
	// InUse says whether a finished artifact may not be evicted. Nil: any may.
	InUse func(dir string) bool
	// Parallel is how many recipes run at once; more wait. 0: 2.
	Parallel int
	// Wall bounds a step that sets no limit of its own. 0: 15 minutes.
	Wall time.Duration
	Log  zerolog.Logger
}

// Builder runs recipes. It is safe for concurrent use.
type Builder struct {
	cfg    Config
	places chan struct{} // one per recipe that may run now
	serial atomic.Int64  // names of folders in the making

	mu      sync.Mutex
	flights map[string]*flight // by recipe key; guarded by mu
}

// New makes the cache folder and removes what a crash left half built.
func New(cfg Config) (*Builder, error) {
	if cfg.Isolator == nil {
		return nil, errors.New("build: Isolator is not set")
	}
	if !filepath.IsAbs(cfg.CacheDir) {
		return nil, fmt.Errorf("build: CacheDir %q is not absolute", cfg.CacheDir)
	}
	if cfg.Remove == nil {
		cfg.Remove = os.RemoveAll
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 2
	}
	if cfg.Wall <= 0 {
		cfg.Wall = 15 * time.Minute
	}
	if err := os.MkdirAll(filepath.Dir(cfg.CacheDir), 0o755); err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	b := &Builder{cfg: cfg, places: make(chan struct{}, cfg.Parallel), flights: map[string]*flight{}}
	for _, dir := range []string{cfg.CacheDir, b.path("out"), b.path("tmp"), b.path("build")} {
		if err := folder(dir, closed); err != nil {
			return nil, err
		}
	}
	left, err := os.ReadDir(b.path("tmp"))
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	for _, e := range left {
		if err := cfg.Remove(b.path("tmp", e.Name())); err != nil {
			cfg.Log.Warn().Err(err).Str("folder", e.Name()).Msg("remove a half-built artifact")
		}
	}
	return b, nil
}

func (b *Builder) path(parts ...string) string {
	return filepath.Join(append([]string{b.cfg.CacheDir}, parts...)...)
}

// The modes of folders. The sandbox gives writable ones to the builder uid and leaves them the daemon's group, so that the daemon
// may still move and touch them; where builder and daemon are one, the owner's bits do.
const (
	closed   fs.FileMode = 0o711
	writable fs.FileMode = 0o775
)

// folder makes dir, if need be, with exactly mode, whatever the umask says.
func folder(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil // perhaps the builder's by now
	case err == nil:
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

// touch notes that dir was wanted now. To set the present time, being allowed to write is enough.
func touch(dir string) error {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, dir, now, 0)
}

// Built returns the artifact of a key if it is finished, and notes that it was wanted.
func (b *Builder) Built(key string) (runtimes.Artifact, bool) {
	dir := b.path("out", key)
	if !safeName(key) {
		return runtimes.Artifact{}, false
	}
	if err := touch(dir); errors.Is(err, fs.ErrNotExist) {
		return runtimes.Artifact{}, false
	}
	return runtimes.Artifact{Dir: dir}, true
}

// Run returns the artifact of r, building it first if need be. Callers that want the same recipe at the same time share one
// build and all see its output in their log; it is stopped when none of them waits any more. A failed step is a *StepError.
func (b *Builder) Run(ctx context.Context, workspace string, r *runtimes.Recipe, log io.Writer) (runtimes.Artifact, error) {
	if !safeName(r.Key) || !safeName(workspace) {
		return runtimes.Artifact{}, fmt.Errorf("build: recipe key %q or workspace %q cannot name a folder", r.Key, workspace)
	}
	if a, ok := b.Built(r.Key); ok {
		return a, nil
	}
	if log == nil {
		log = io.Discard
	}
	l := &listener{log}
	f := b.join(workspace, r, l)
	defer b.leave(r.Key, f, l)
	select {
	case <-f.done:
		return f.artifact, f.err
	case <-ctx.Done():
		return runtimes.Artifact{}, ctx.Err()
	}
}

// safeName says whether s can be one element of a path.
func safeName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 200 && s[0] != '@' && !strings.ContainsAny(s, "/\x00")
}

// StepError says which step of a recipe failed and how.
type StepError struct {
	Recipe string
	Step   string // its title
	Exit   sandbox.Exit
	Tail   string // the end of its output
	Reason string // why it was stopped from outside; "" otherwise
}

func (e *StepError) Error() string {
	var how string
	switch {
	case e.Reason != "":
		how = e.Reason
	case e.Exit.Error != "":
		how = "it could not be started: " + e.Exit.Error
	case e.Exit.OOM:
		how = "it needed more memory than its limit"
	case e.Exit.Signal != 0:
		how = fmt.Sprintf("it was killed by signal %d", e.Exit.Signal)
	default:
		how = fmt.Sprintf("exit status %d", e.Exit.Code)
	}
	text := e.Step + ": " + how
	if e.Tail != "" {
		text += "\n" + e.Tail
	}
	return text
}
