package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
)

const (
	maxCatchUp = 10_000
	catchUp    = 100 // when CatchUpLimit is 0
	maxGrace   = 24 * time.Hour
	onTime     = time.Second // when Grace is 0
	maxText    = 64 << 10
)

// check completes a schedule that p wants to store, and says what is wrong with it.
func (s *Schedules) check(ctx context.Context, p engine.Principal, op string, x *engine.Schedule) (*Grid, error) {
	if err := checkText(op, x.Summary, x.Description, x.Cron, x.Timezone, x.Tag, x.ScriptPath, x.Email, strings.Join(x.Calendars, " ")); err != nil {
		return nil, err
	}
	g, err := NewGrid(x.Cron, x.CronVersion, x.Timezone)
	if err != nil {
		return nil, &engine.Error{Code: engine.Invalid, Op: op, Path: x.Path, Msg: err.Error()}
	}
	if g.Next(s.cfg.Clock.Now()).IsZero() {
		return nil, &engine.Error{Code: engine.Invalid, Op: op, Path: x.Path, Msg: "the expression " + x.Cron + " names no moment that will ever come"}
	}
	if err := s.checkPolicies(op, x); err != nil {
		return nil, err
	}
	if err := s.checkOwner(p, op, x); err != nil {
		return nil, err
	}
	if err := s.checkRunnable(ctx, p, op, x.Workspace, kindOf(x.IsFlow)+x.ScriptPath); err != nil {
		return nil, err
	}
	if err := checkObject(op, "args", x.Args); err != nil {
		return nil, err
	}
	for _, h := range []*engine.Handler{x.OnFailure, x.OnRecovery, x.OnSuccess} {
		if err := s.checkHandler(ctx, p, op, x.Workspace, h); err != nil {
			return nil, err
		}
	}
	if err := checkExtra(op, x.Extra); err != nil {
		return nil, err
	}
	if _, err := parseRetry(op, x.Extra["retry"]); err != nil {
		return nil, err
	}
	return g, s.checkGuard(ctx, p, op, x)
}

func (s *Schedules) checkPolicies(op string, x *engine.Schedule) error {
	if x.Timezone == "" {
		x.Timezone = "UTC"
	}
	if x.Missed == "" {
		x.Missed = engine.MissedCoalesce
	}
	if x.Overlap == "" {
		x.Overlap = engine.OverlapAllow
	}
	switch {
	case !slices.Contains([]engine.MissedPolicy{engine.MissedSkip, engine.MissedCoalesce, engine.MissedCatchUp}, x.Missed):
		return engine.Errorf(engine.Invalid, op, "%q is not a policy for missed ticks: use skip, coalesce or catch_up", x.Missed)
	case !slices.Contains([]engine.OverlapPolicy{engine.OverlapAllow, engine.OverlapSkip, engine.OverlapQueue, engine.OverlapCoalesce}, x.Overlap):
		return engine.Errorf(engine.Invalid, op, "%q is not a policy for overlapping ticks: use allow, skip, queue or coalesce", x.Overlap)
	case x.CatchUpLimit < 0 || x.CatchUpLimit > maxCatchUp:
		return engine.Errorf(engine.Invalid, op, "at most %d missed ticks can be caught up", maxCatchUp)
	case x.Grace < 0 || x.Grace > maxGrace:
		return engine.Errorf(engine.Invalid, op, "grace must be from 0 to %s", maxGrace)
	}
	return nil
}

// checkOwner settles who the runs belong to: p, or with the rights of an administrator somebody else.
func (s *Schedules) checkOwner(p engine.Principal, op string, x *engine.Schedule) error {
	own := p.PermissionedAs()
	if x.PermissionedAs == "" || x.PermissionedAs == own {
		x.PermissionedAs, x.Email = own, p.Email
		return nil
	}
	name, user := strings.CutPrefix(x.PermissionedAs, "u/")
	if !user || name == "" || checkText(op, name) != nil {
		return engine.Errorf(engine.Invalid, op, "%q cannot own a schedule: use u/<user>", x.PermissionedAs)
	}
	if err := s.cfg.Gate.Can(p, "admin", x.Workspace, ""); err != nil {
		return err
	}
	if x.Email == "" {
		x.Email = name
	}
	return nil
}

func kindOf(isFlow bool) string {
	if isFlow {
		return "flow/"
	}
	return "script/"
}

// checkRunnable verifies that p may run what is at "script/<path>" or "flow/<path>", and that it is there.
func (s *Schedules) checkRunnable(ctx context.Context, p engine.Principal, op, ws, runnable string) error {
	kind, path, err := runnableOf(op, runnable)
	if err != nil {
		return err
	}
	if err := engine.CheckPath(op, path); err != nil {
		return err
	}
	if err := s.cfg.Gate.Can(p, "run", ws, path); err != nil {
		return err
	}
	what := "script"
	if kind == engine.KindFlow {
		what = "flow"
		_, err = s.cfg.Flows.Latest(ctx, ws, path)
	} else {
		_, err = s.cfg.Scripts.Latest(ctx, ws, path)
	}
	if engine.CodeOf(err) == engine.NotFound {
		return &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: "the " + what + " is not there", Err: err}
	}
	return err
}

// runnableOf is the one place that knows what can be run: the path of "script/<path>" or "flow/<path>".
func runnableOf(op, runnable string) (kind engine.JobKind, path string, err error) {
	if path, ok := strings.CutPrefix(runnable, "script/"); ok {
		return engine.KindScript, path, nil
	}
	if path, ok := strings.CutPrefix(runnable, "flow/"); ok {
		return engine.KindFlow, path, nil
	}
	return "", "", &engine.Error{Code: engine.Invalid, Op: op, Path: runnable, Msg: "not a runnable", Hint: "use script/<path> or flow/<path>"}
}

func (s *Schedules) checkHandler(ctx context.Context, p engine.Principal, op, ws string, h *engine.Handler) error {
	if h == nil {
		return nil
	}
	if h.Times < 0 || h.Times > 1_000_000 {
		return engine.Errorf(engine.Invalid, op, "a handler comes after 1 to 1000000 runs in a row, not %d", h.Times)
	}
	if err := s.checkRunnable(ctx, p, op, ws, h.Path); err != nil {
		return err
	}
	return checkObject(op, "extra arguments of "+h.Path, h.Extra)
}

// checkObject verifies that b is empty, null or a JSON object that can be stored.
func checkObject(op, what string, b json.RawMessage) error {
	if len(b) == 0 || isNull(b) {
		return nil
	}
	var m map[string]json.RawMessage
	switch err := json.Unmarshal(b, &m); {
	case err != nil || !utf8.Valid(b):
		return engine.Errorf(engine.Invalid, op, "%s must be a JSON object", what)
	case bytes.Contains(b, []byte(`\u0000`)):
		return engine.Errorf(engine.Invalid, op, "%s must be without the character \\u0000", what)
	}
	return nil
}

func isNull(b json.RawMessage) bool { return string(bytes.TrimSpace(b)) == "null" }

// checkExtra verifies that the further fields of Windmill's record can be stored.
func checkExtra(op string, extra map[string]json.RawMessage) error {
	for name, v := range extra {
		if err := checkText(op, name, string(v)); err != nil {
			return err
		}
		if !json.Valid(v) || bytes.Contains(v, []byte(`\u0000`)) {
			return engine.Errorf(engine.Invalid, op, "the field %s must be JSON, without the character \\u0000", name)
		}
	}
	return nil
}

// checkText verifies that texts can be stored.
func checkText(op string, list ...string) error {
	for _, t := range list {
		if len(t) > maxText || !utf8.ValidString(t) || strings.ContainsRune(t, 0) {
			return engine.Errorf(engine.Invalid, op, "texts must be UTF-8 without NUL and at most %d bytes long", maxText)
		}
	}
	return nil
}
