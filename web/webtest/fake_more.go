package webtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

func from(s string, offset int64) string { return s[min(offset, int64(len(s))):] }

// Logs implements api.Jobs.
func (e *Engine) Logs(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, offset int64) (string, int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(ws, id)
	if err != nil {
		return "", 0, err
	}
	return from(j.log, offset), int64(len(j.log)), nil
}

// Update implements api.Jobs.
func (e *Engine) Update(_ context.Context, _ engine.Principal, ws string, id uuid.UUID, log, stream int64) (*engine.Update, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(ws, id)
	if err != nil {
		return nil, err
	}
	v := j.view
	return &engine.Update{View: &v, Logs: from(j.log, log), LogOffset: int64(len(j.log)), Stream: from(j.stream, stream), StreamOffset: int64(len(j.stream))}, nil
}

// Watch implements api.Jobs.
func (e *Engine) Watch(_ context.Context, _ engine.Principal, ws string, id uuid.UUID) (<-chan struct{}, func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(ws, id)
	if err != nil {
		return nil, nil, err
	}
	w := make(chan struct{}, 1)
	j.watches[w] = struct{}{}
	return w, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(j.watches, w)
	}, nil
}

// Watchers counts who watches a job.
func (e *Engine) Watchers(id uuid.UUID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.jobs[id].watches)
}

// Cancel implements api.Jobs.
func (e *Engine) Cancel(_ context.Context, p engine.Principal, ws string, id uuid.UUID, reason string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(ws, id)
	if err != nil {
		return err
	}
	if j.view.FinishedAt != nil {
		return &engine.Error{Code: engine.Conflict, Op: "job.cancel", Path: id.String(), Msg: "the job is completed already"}
	}
	e.finish(j, &engine.Outcome{State: engine.StateCanceled, CanceledBy: p.Username, Reason: reason})
	return nil
}

// Why implements api.Jobs.
func (e *Engine) Why(_ context.Context, _ engine.Principal, ws string, id uuid.UUID) (*engine.Why, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, err := e.find(ws, id)
	if err != nil {
		return nil, err
	}
	w := &engine.Why{State: j.view.State, Workers: 1, FreeSlots: 1}
	if j.view.State == engine.StateQueued {
		w.Reasons = []string{"scheduled for " + j.view.ScheduledFor.UTC().Format(time.RFC3339)}
	}
	return w, nil
}

// Counts implements api.Jobs.
func (e *Engine) Counts(_ context.Context, _ engine.Principal, ws string) (queued, running int64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return 0, 0, err
	}
	for _, j := range e.jobs {
		switch j.view.State {
		case engine.StateQueued:
			queued++
		case engine.StateRunning:
			running++
		}
	}
	return queued, running, nil
}

// room refuses a run whose queue is full. Called with mu held.
func (e *Engine) room(r engine.RunRequest) error {
	var n int64
	for _, j := range e.jobs {
		if j.view.State == engine.StateQueued {
			n++
		}
	}
	if r.QueueLimit > 0 && n >= r.QueueLimit {
		return &engine.Error{Code: engine.TooMany, Op: "job.push", Msg: fmt.Sprintf("the queue is full: %d jobs wait, %d may", n, r.QueueLimit), Hint: "try again later"}
	}
	return nil
}

// Workers implements api.Jobs.
func (e *Engine) Workers(context.Context) ([]engine.WorkerView, error) {
	now := time.Now()
	return []engine.WorkerView{{ID: 7, Name: "fake", Host: "here", PID: 42, Slots: 2, Busy: 1, Executed: 12, Version: "v9", Started: now, Heartbeat: now},
		{ID: 6, Name: "gone", Host: "here", PID: 41, Slots: 2, Started: now, Heartbeat: now.Add(-time.Hour)}}, e.Broken
}

// Scripts is the engine seen as api.Scripts.
type Scripts struct{ *Engine }

// Create implements api.Scripts.
func (e Scripts) Create(_ context.Context, p engine.Principal, ws string, s *engine.Script, o engine.ScriptOptions) (engine.Hash, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return 0, false, err
	}
	n := *s
	if newest, err := e.script(engine.RunRequest{Path: s.Path}); err == nil {
		if o.SkipIfNoop && newest.Content == s.Content {
			return newest.Hash, false, nil
		}
		if !o.AutoParent && (o.ParentHash == nil || *o.ParentHash != newest.Hash) {
			return 0, false, &engine.Error{Code: engine.Conflict, Op: "script.create", Path: s.Path, Msg: "there is a newer version",
				Hint: "name it as parent_hash"}
		}
		n.Parents = append([]engine.Hash{newest.Hash}, newest.Parents...)
	}
	n.Hash, n.CreatedBy, n.CreatedAt = engine.Hash(0x1000+len(e.scripts)), p.Username, time.Now()
	e.scripts = append(e.scripts, &n)
	return n.Hash, true, nil
}

// Latest implements api.Scripts.
func (e Scripts) Latest(_ context.Context, _ engine.Principal, ws, path string) (*engine.Script, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	return e.script(engine.RunRequest{Path: path})
}

// ByHash implements api.Scripts.
func (e Scripts) ByHash(_ context.Context, _ engine.Principal, ws string, h engine.Hash) (*engine.Script, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	return e.script(engine.RunRequest{Hash: h})
}

// List implements api.Scripts.
func (e Scripts) List(_ context.Context, _ engine.Principal, ws string, f engine.ScriptFilter) ([]*engine.Script, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return nil, err
	}
	newest := map[string]*engine.Script{}
	for _, s := range e.scripts {
		if strings.HasPrefix(s.Path, f.PathStart) && (f.ShowArchived || !s.Archived) {
			newest[s.Path] = s
		}
	}
	var all []*engine.Script
	for _, s := range e.scripts {
		if newest[s.Path] == s {
			all = append(all, s)
		}
	}
	return page(all, f.Page, f.PerPage), nil
}

// History implements api.Scripts.
func (e Scripts) History(_ context.Context, _ engine.Principal, ws, path string) ([]*engine.Script, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*engine.Script
	for _, s := range slices.Backward(e.scripts) {
		if s.Path == path {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, &engine.Error{Code: engine.NotFound, Op: "script.history", Path: path, Msg: "no such script"}
	}
	return all, e.check(ws)
}

// Archive implements api.Scripts.
func (e Scripts) Archive(_ context.Context, _ engine.Principal, ws, path string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return err
	}
	s, err := e.script(engine.RunRequest{Path: path})
	if err != nil {
		return err
	}
	n := *s // versions that were handed out do not change
	n.Archived = true
	e.scripts[slices.Index(e.scripts, s)] = &n
	return nil
}

// Delete implements api.Scripts.
func (e Scripts) Delete(_ context.Context, p engine.Principal, ws string, h engine.Hash) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.check(ws); err != nil {
		return err
	}
	if !p.Admin {
		return &engine.Error{Code: engine.Forbidden, Op: "script.delete", Msg: "only administrators delete"}
	}
	e.scripts = slices.DeleteFunc(e.scripts, func(s *engine.Script) bool { return s.Hash == h })
	return nil
}

// Accounts is the engine seen as api.Authenticator, api.Tokens, api.Workspaces and api.Health.
type Accounts struct {
	*Engine
	Admins []uint32 // uids that are administrators on the socket; others are strangers
}

// Authenticate implements api.Authenticator.
func (a Accounts) Authenticate(_ context.Context, secret string) (engine.Principal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tokens[secret]
	if !ok {
		return engine.Principal{}, &engine.Error{Code: engine.Unauthorized, Op: "auth", Msg: "unknown or expired token"}
	}
	return engine.Principal{Username: t.Username, Email: t.Email, Admin: t.Admin, Workspace: t.Workspace, Via: "token"}, nil
}

// Socket implements api.Authenticator.
func (a Accounts) Socket(uid uint32) (engine.Principal, error) {
	if slices.Contains(a.Admins, uid) {
		return engine.Principal{Username: "root", Email: "root@localhost", Admin: true, Via: "socket"}, nil
	}
	return engine.Principal{}, &engine.Error{Code: engine.Unauthorized, Op: "auth", Msg: "this user is not known on the socket"}
}

// Tokens is the engine seen as api.Tokens.
type Tokens struct{ *Engine }

// Create implements api.Tokens.
func (t Tokens) Create(_ context.Context, p engine.Principal, r engine.TokenRequest) (string, engine.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Workspace != "" {
		if err := t.check(r.Workspace); err != nil {
			return "", engine.Token{}, err
		}
	}
	tok := engine.Token{Prefix: "new-" + r.Label, Label: r.Label, Username: p.Username, Email: p.Email, Admin: p.Admin && r.Admin,
		Workspace: r.Workspace, ExpiresAt: r.ExpiresAt}
	t.tokens["new-"+r.Label+"-secret"] = tok
	return "new-" + r.Label + "-secret", tok, nil
}

// List implements api.Tokens.
func (t Tokens) List(_ context.Context, p engine.Principal) ([]engine.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var own []engine.Token
	for _, tok := range t.tokens {
		if tok.Username == p.Username {
			own = append(own, tok)
		}
	}
	slices.SortFunc(own, func(a, b engine.Token) int { return strings.Compare(a.Prefix, b.Prefix) })
	return own, nil
}

// Delete implements api.Tokens.
func (t Tokens) Delete(_ context.Context, p engine.Principal, prefix string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for secret, tok := range t.tokens {
		if tok.Prefix == prefix && tok.Username == p.Username {
			delete(t.tokens, secret)
			return nil
		}
	}
	return &engine.Error{Code: engine.NotFound, Op: "token.delete", Path: prefix, Msg: "no such token"}
}

// Workspaces is the engine seen as api.Workspaces.
type Workspaces struct{ *Engine }

// Exists implements api.Workspaces.
func (w Workspaces) Exists(_ context.Context, id string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.check(id) == nil, w.Broken
}

// List implements api.Workspaces.
func (w Workspaces) List(context.Context, engine.Principal) ([]engine.Workspace, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.workspaces), nil
}

// Create implements api.Workspaces.
func (w Workspaces) Create(_ context.Context, _ engine.Principal, n engine.Workspace) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.check(n.ID) == nil {
		return &engine.Error{Code: engine.Conflict, Op: "workspace.create", Path: n.ID, Msg: "exists already"}
	}
	w.workspaces = append(w.workspaces, n)
	return nil
}

// Live implements api.Health.
func (e *Engine) Live() error { return nil }

// Ready implements api.Health.
func (e *Engine) Ready(context.Context) error { return e.Broken }
