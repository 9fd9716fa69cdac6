// Package secret keeps what scripts and flows read by name: variables, which may be secret, and resources, which are JSON values that
// may refer to them.
//
//	"$var:u/ann/password"   the text of a variable
//	"$res:f/db/main"        the value of a resource, with what it refers to in its place
//
// References are followed when a job starts (Fill), so a job's record has the reference and not the secret. Secrets are sealed with
// AES-256-GCM by a key that lies in a file beside the database and never in it; the workspace and the path are sealed with them, so a
// row that is copied to another path does not open. A database is bound to the first key that it meets: a daemon with another one
// seals and opens nothing and says so.
//
// Who may: what lies below u/<user>/ is read by that user, their jobs and administrators; all else by every member of the workspace.
// Writing follows the gate's rules. A job has its user's rights here, because scripts keep their state in resources.
package secret

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Gate says who may do what.
type Gate interface {
	Can(p engine.Principal, verb, ws, path string) error
}

// Config is what Values needs; all of it must be given.
type Config struct {
	DB   *store.DB
	Gate Gate
	Key  Key
	Log  zerolog.Logger
}

// Values is the keeper of variables and resources. It is safe for concurrent use.
type Values struct {
	cfg     Config
	foreign atomic.Bool // the database is bound to another key
}

// New returns the keeper; Start must come before its first use.
func New(cfg Config) *Values { return &Values{cfg: cfg} }

// Start binds the database to the key, or finds out that it is bound to another.
func (v *Values) Start(ctx context.Context) error {
	mark, err := v.cfg.DB.SecretKeyMark(ctx, v.cfg.Key.mark())
	if err != nil {
		return err
	}
	if mark != v.cfg.Key.mark() {
		v.foreign.Store(true)
		v.cfg.Log.Error().Msg("the secrets of this database were sealed with another key: secret variables can be neither read nor made; " + keyHint)
	}
	return nil
}

// Stop does nothing: there is no goroutine.
func (v *Values) Stop() {}

const keyHint = "give the key file of the first daemon with --secret-key-file"

// may asks the gate; a job has the rights of its user.
func (v *Values) may(p engine.Principal, verb, ws, path string) error {
	if p.Via == "job" {
		p.Via = "token"
	}
	if err := v.cfg.Gate.Can(p, verb, ws, path); err != nil || verb != read {
		return err
	}
	rest, private := strings.CutPrefix(path, "u/")
	if owner, _, _ := strings.Cut(rest, "/"); !private || owner == p.Username || v.cfg.Gate.Can(p, write, ws, path) == nil {
		return nil
	}
	return &engine.Error{Code: engine.Forbidden, Op: read, Path: path, Msg: p.Username + " may not read " + path,
		Hint: "what lies below u/<user>/ is that user's; use a path below f/ for what is shared"}
}

// The verbs of the gate.
const (
	read  = "read"
	write = "write"
)

// as is who a job runs as.
func as(j *engine.Job) engine.Principal {
	name, ok := strings.CutPrefix(j.PermissionedAs, "u/")
	if !ok {
		name = j.CreatedBy
	}
	return engine.Principal{Username: name, Email: j.Email, Workspace: j.Workspace, Via: "job", JobID: j.ID.String()}
}

// failed maps what the database said.
func failed(op, what, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case store.IsNotFound(err):
		return &engine.Error{Code: engine.NotFound, Op: op, Path: path, Msg: "there is no such " + what}
	case store.IsConflict(err, ""):
		return &engine.Error{Code: engine.Conflict, Op: op, Path: path, Msg: "there is a " + what + " at this path already"}
	}
	return &engine.Error{Code: engine.Internal, Op: op, Path: path, Err: err}
}
