package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// Windmill's command line compares what it sent with what it reads, key by key, so a schedule must come back as it was sent:
// an empty on_failure stays an empty on_failure, and an absent one stays absent. Schedule.Extra keeps what the record itself
// does not hold: further fields, and the spelling of known ones. A kept spelling is shown as long as it says what the
// schedule says.

// The values that stand for an absent field.
const (
	defaultTimezone = "UTC"
	defaultCatchUp  = 100
	defaultGrace    = time.Second
)

// scheduleFields are the names of wire.Schedule, sentFields those of wire.NewSchedule, in their order.
var scheduleFields, sentFields = jsonNames(reflect.TypeFor[wire.Schedule]()), jsonNames(reflect.TypeFor[wire.NewSchedule]())

func jsonNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// unkept are fields that are not kept as sent: the server writes them, or they tell it what to do once.
var unkept = map[string]bool{"workspace_id": true, "path": true, "edited_by": true, "edited_at": true, "email": true, "error": true,
	"permissioned_as": true, "preserve_permissioned_as": true, "has_permissioned_as": true, "extra_perms": true, "next_at": true,
	"jobs": true, "draft_only": true, "is_draft": true, "inherited_labels": true, "force": true, "n": true}

// scheduleBody is a decoded create or update.
type scheduleBody struct {
	schedule engine.Schedule
	preserve bool
	sent     map[string]json.RawMessage
}

// has tells whether a field was sent; null counts.
func (b *scheduleBody) has(name string) bool { return b.sent[name] != nil }

// readSchedule decodes a schedule. It does not judge its values; the engine does.
func readSchedule(body []byte) (*scheduleBody, error) {
	b, err := decodeSchedule(body)
	if err != nil {
		return nil, err
	}
	return b, b.keepSpelling()
}

func decodeSchedule(body []byte) (*scheduleBody, error) {
	b := &scheduleBody{}
	if err := json.Unmarshal(body, &b.sent); err != nil || b.sent == nil {
		return nil, invalid("the body is not a JSON object")
	}
	// encoding/json would take "Schedule" for "schedule" too.
	meant := map[string]json.RawMessage{}
	for _, name := range sentFields {
		if raw, ok := b.sent[name]; ok {
			meant[name] = raw
		}
	}
	body, err := encode(meant)
	if err != nil {
		return nil, err
	}
	n := wire.NewSchedule{}
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, invalid("the body is not a schedule: %v", err)
	}
	if err := moments(&n); err != nil {
		return nil, err
	}
	b.preserve = n.PreservePermissionedAs
	s := &b.schedule
	*s = engine.Schedule{Path: n.Path, Summary: n.Summary, Description: n.Description, Cron: n.Cron, CronVersion: n.CronVersion,
		Timezone: n.Timezone, Enabled: n.Enabled != nil && *n.Enabled, PausedUntil: n.PausedUntil, ScriptPath: n.ScriptPath,
		IsFlow: n.IsFlow != nil && *n.IsFlow, Tag: n.Tag, Missed: engine.MissedPolicy(n.Missed), Overlap: engine.OverlapPolicy(n.Overlap),
		CatchUpLimit: n.CatchUpLimit, Grace: time.Duration(n.GraceS * float64(time.Second)), Calendars: n.Calendars,
		PermissionedAs: n.PermissionedAs}
	if n.GraceS < 0 || n.GraceS > 1e9 || n.CatchUpLimit < 0 {
		return nil, invalid("grace_s and catch_up_limit must not be negative or absurdly large")
	}
	if n.NoFlowOverlap {
		if s.Overlap != "" && s.Overlap != engine.OverlapSkip {
			return nil, invalid("no_flow_overlap means overlap skip, but overlap is %s", s.Overlap)
		}
		s.Overlap = engine.OverlapSkip
	}
	if s.Args, err = objectOf("args", n.Args); err != nil {
		return nil, err
	}
	if s.OnFailure, err = readHandler("on_failure", n.OnFailure, n.OnFailureTimes, n.OnFailureExtraArgs); err != nil {
		return nil, err
	}
	if s.OnFailure != nil {
		s.OnFailure.Exact = n.OnFailureExact
	}
	if s.OnRecovery, err = readHandler("on_recovery", n.OnRecovery, n.OnRecoveryTimes, n.OnRecoveryExtraArgs); err != nil {
		return nil, err
	}
	s.OnSuccess, err = readHandler("on_success", n.OnSuccess, 0, n.OnSuccessExtraArgs)
	return b, err
}

// objectOf returns an object as sent, nil for null and nothing.
func objectOf(name string, raw json.RawMessage) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, invalid("%s must be a JSON object", name)
	}
	return bytes.Clone(raw), nil
}

func readHandler(name, path string, times float64, extra json.RawMessage) (*engine.Handler, error) {
	if times < 0 || times > math.MaxInt32 || times != math.Trunc(times) {
		return nil, invalid("%s_times must be a whole number, 1 or more", name)
	}
	args, err := objectOf(name+"_extra_args", extra)
	if path == "" || err != nil {
		return nil, err
	}
	return &engine.Handler{Path: path, Times: int(times), Extra: args}, nil
}

// keepSpelling puts into Extra what the record would not give back.
func (b *scheduleBody) keepSpelling() error {
	known, err := knownFields(&b.schedule)
	if err != nil {
		return err
	}
	for name, raw := range b.sent {
		if unkept[name] {
			continue
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			return invalid("%s is not JSON: %v", name, err)
		}
		if bytes.Equal(known[name], compact.Bytes()) && name != "no_flow_overlap" { // which overlap can stand for
			continue
		}
		if b.schedule.Extra == nil {
			b.schedule.Extra = map[string]json.RawMessage{}
		}
		b.schedule.Extra[name] = compact.Bytes()
	}
	return nil
}

// knownFields encodes what the record holds; fields with their default are absent.
func knownFields(s *engine.Schedule) (map[string]json.RawMessage, error) {
	b, err := encode(wireSchedule(s))
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(b, &fields)
}

func wireSchedule(s *engine.Schedule) wire.Schedule {
	v := wire.Schedule{WorkspaceID: s.Workspace, Path: s.Path, Summary: s.Summary, Description: s.Description, Cron: s.Cron,
		CronVersion: s.CronVersion, Timezone: s.Timezone, Enabled: s.Enabled, PausedUntil: utc(s.PausedUntil), ScriptPath: s.ScriptPath,
		IsFlow: s.IsFlow, Args: s.Args, Tag: s.Tag, Calendars: s.Calendars, NextAt: utc(s.NextAt), Error: s.Error,
		EditedBy: s.EditedBy, EditedAt: s.EditedAt.UTC(), Email: s.Email, PermissionedAs: s.PermissionedAs}
	if v.Timezone == "" {
		v.Timezone = defaultTimezone
	}
	if s.Missed != engine.MissedCoalesce {
		v.Missed = string(s.Missed)
	}
	switch s.Overlap {
	case engine.OverlapSkip:
		v.NoFlowOverlap = true
	case engine.OverlapAllow:
	default:
		v.Overlap = string(s.Overlap)
	}
	if s.CatchUpLimit != defaultCatchUp {
		v.CatchUpLimit = s.CatchUpLimit
	}
	if s.Grace != defaultGrace {
		v.GraceS = s.Grace.Seconds()
	}
	if f := s.OnFailure; f != nil {
		v.OnFailure, v.OnFailureTimes, v.OnFailureExact, v.OnFailureExtraArgs = f.Path, float64(f.Times), f.Exact, f.Extra
	}
	if r := s.OnRecovery; r != nil {
		v.OnRecovery, v.OnRecoveryTimes, v.OnRecoveryExtraArgs = r.Path, float64(r.Times), r.Extra
	}
	if r := s.OnSuccess; r != nil {
		v.OnSuccess, v.OnSuccessExtraArgs = r.Path, r.Extra
	}
	return v
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// viewSchedule encodes a schedule as its sender knows it, with further fields of the answer at the end.
func viewSchedule(s *engine.Schedule, more map[string]any) (json.RawMessage, error) {
	fields, err := knownFields(s)
	if err != nil {
		return nil, err
	}
	var further []string
	for _, name := range slices.Sorted(maps.Keys(s.Extra)) {
		raw := s.Extra[name]
		switch {
		case unkept[name] || !json.Valid(raw):
			continue
		case !slices.Contains(scheduleFields, name):
			further = append(further, name)
		case !saysTheSame(name, raw, fields[name]):
			continue
		}
		fields[name] = raw
	}
	if _, ours := s.Extra["overlap"]; ours && s.Extra["no_flow_overlap"] == nil {
		delete(fields, "no_flow_overlap") // it was said in our way only
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		if fields[name], err = encode(more[name]); err != nil {
			return nil, err
		}
		further = append(further, name)
	}
	out := []byte{'{'}
	for _, name := range slices.Concat(scheduleFields, further) {
		if raw := fields[name]; raw != nil {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(append(append(out, quote(name)...), ':'), raw...)
		}
	}
	return append(out, '}'), nil
}

// saysTheSame tells whether raw, a kept spelling of a known field, still means what the record holds there.
func saysTheSame(name string, raw, held json.RawMessage) bool {
	alone, err := encode(map[string]json.RawMessage{name: raw})
	if err != nil {
		return false
	}
	b, err := decodeSchedule(alone)
	if err != nil {
		return false
	}
	fields, err := knownFields(&b.schedule)
	return err == nil && bytes.Equal(fields[name], held)
}
