package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
)

// The major versions that the queries of engine/store are meant for.
const (
	OldestMajor = 15
	NewestMajor = 18
)

// EnvBinDir names the folder of the server binaries when Config does not.
const EnvBinDir = "MILLRACE_PG_BINDIR"

const installHint = "install the PostgreSQL server (apt install postgresql, dnf install postgresql-server), " +
	"set " + EnvBinDir + " to the folder that holds initdb and postgres, or use --database-url"

// Binaries is an installed PostgreSQL server.
type Binaries struct {
	Dir   string
	Major int
}

func (b Binaries) path(name string) string { return filepath.Join(b.Dir, name) }

var (
	dirMajor     = regexp.MustCompile(`(?:postgresql/|pgsql-)(\d+)/bin/?$`)
	versionMajor = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)
)

// FindBinaries looks for a server: in dir (or MILLRACE_PG_BINDIR) alone when one is named; else in /usr/lib/postgresql/*/bin,
// /usr/pgsql-*/bin, what pg_config says, and PATH. Among several it takes major when that is not 0 (an existing cluster's),
// else the newest supported one.
func FindBinaries(ctx context.Context, dir string, major int) (Binaries, error) {
	named := dir
	if named == "" {
		named = os.Getenv(EnvBinDir)
	}
	dirs := []string{named}
	if named == "" {
		dirs = usualDirs(ctx)
	}
	var found []Binaries
	for _, d := range dirs {
		if b, ok := inspect(ctx, d); ok {
			found = append(found, b)
		}
	}
	if len(found) == 0 {
		msg := "no PostgreSQL server binaries found"
		if named != "" {
			msg = "no PostgreSQL server binaries in " + named
		}
		return Binaries{}, &engine.Error{Code: engine.Unavailable, Op: "postgres.find", Msg: msg, Hint: installHint}
	}
	return choose(found, major)
}

// choose picks from a list that is not empty.
func choose(found []Binaries, major int) (Binaries, error) {
	sort.SliceStable(found, func(i, j int) bool { return found[i].Major > found[j].Major })
	var have []string
	for _, b := range found {
		if major == b.Major || major == 0 && b.Major >= OldestMajor && b.Major <= NewestMajor {
			return b, nil
		}
		have = append(have, strconv.Itoa(b.Major))
	}
	if major != 0 {
		return Binaries{}, &engine.Error{Code: engine.Unavailable, Op: "postgres.find",
			Msg: fmt.Sprintf("the data folder was made by PostgreSQL %d, but only %s is installed", major, strings.Join(have, ", ")),
			Hint: fmt.Sprintf("install PostgreSQL %d again (apt install postgresql-%d); to move on to the newer one, run its pg_upgrade "+
				"on the data folder, or start with %d, pg_dump, and restore into a new folder", major, major, major)}
	}
	return Binaries{}, &engine.Error{Code: engine.Unavailable, Op: "postgres.find",
		Msg:  fmt.Sprintf("PostgreSQL %s is installed, but %d to %d is needed", strings.Join(have, ", "), OldestMajor, NewestMajor),
		Hint: installHint}
}

func usualDirs(ctx context.Context) []string {
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		m, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, m...)
	}
	if len(dirs) > 0 {
		return dirs // do not start processes when the distribution's layout answers
	}
	if out, err := output(ctx, "pg_config", "--bindir"); err == nil {
		dirs = append(dirs, strings.TrimSpace(out))
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil { // initdb sits beside the real binary
			p = real
		}
		dirs = append(dirs, filepath.Dir(p))
	}
	return dirs
}

// inspect reports whether d holds a whole server, and which.
func inspect(ctx context.Context, d string) (Binaries, bool) {
	for _, name := range []string{"initdb", "postgres"} {
		if st, err := os.Stat(filepath.Join(d, name)); err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
			return Binaries{}, false
		}
	}
	text, re := d, dirMajor
	if !re.MatchString(text) {
		re = versionMajor
		text, _ = output(ctx, filepath.Join(d, "postgres"), "--version")
	}
	m := re.FindStringSubmatch(text)
	if m == nil {
		return Binaries{}, false
	}
	major, err := strconv.Atoi(m[1])
	return Binaries{Dir: d, Major: major}, err == nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	return string(out), err
}
