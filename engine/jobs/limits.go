package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// Limits are fields of the script (Windmill's names, see limits.md of the manual). They are read once for each version; the keys
// are templates of which each run makes its own.

const (
	maxLimit    = 1_000_000
	maxSeconds  = 366 * 24 * 3600
	maxPriority = 100
	maxKey      = 500 // bytes; longer keys end in a hash
)

// CheckLimits says what is wrong with the limits of a script that is to be deployed.
func CheckLimits(s *engine.Script) error {
	_, err := parseLimits(s)
	return err
}

// parseLimits reads the limits of a script; nil: it has none. Keys are templates, "" is the default of the kind.
func parseLimits(s *engine.Script) (*engine.Limits, error) {
	f := said{script: s}
	out := engine.Limits{Priority: int16(f.number("priority", maxPriority))}
	slots, window := f.number("concurrent_limit", maxLimit), f.number("concurrency_time_window_s", maxSeconds)
	key, on := f.text("concurrency_key"), f.text("on_concurrency_limit")
	if on != "" && on != "queue" && on != "fail" {
		f.wrong("on_concurrency_limit", "queue or fail")
	}
	if slots > 0 {
		out.Limit = &engine.Limit{Key: key, Slots: slots, Window: seconds(window), Fail: on == "fail"}
	}
	d := engine.Debounce{
		Key: f.text("debounce_key"), Delay: seconds(f.number("debounce_delay_s", maxSeconds)), Accumulate: f.names("debounce_args_to_accumulate"),
		MaxWait: seconds(f.number("max_total_debouncing_time", maxSeconds)), MaxCount: f.number("max_total_debounces_amount", maxLimit),
	}
	if d.Delay > 0 {
		out.Debounce = &d
	}
	out.CacheFor, out.CacheAnyPath = seconds(f.number("cache_ttl", maxSeconds)), f.yes("cache_ignore_s3_path")
	if f.err != nil {
		return nil, f.err
	}
	if out.Limit == nil && out.Debounce == nil && out.Priority == 0 && out.CacheFor == 0 {
		return nil, nil
	}
	return &out, nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// said reads fields of a script; the first bad one stays as err. What is missing, null or 0 is as good as not said.
type said struct {
	script *engine.Script
	err    error
}

func (f *said) wrong(name, want string) {
	if f.err == nil {
		f.err = &engine.Error{Code: engine.Invalid, Op: "script.create", Path: f.script.Path,
			Msg: fmt.Sprintf("%s must be %s, not %s", name, want, f.script.Extra[name])}
	}
}

func (f *said) number(name string, most int) (n int) {
	if v := f.script.Extra[name]; len(v) > 0 && (json.Unmarshal(v, &n) != nil || n < 0 || n > most) {
		f.wrong(name, fmt.Sprintf("a whole number from 0 to %d", most))
		return 0
	}
	return n
}

func (f *said) text(name string) (s string) {
	if v := f.script.Extra[name]; len(v) > 0 && (json.Unmarshal(v, &s) != nil || strings.IndexByte(s, 0) >= 0) {
		f.wrong(name, "a text")
	}
	return s
}

func (f *said) yes(name string) (b bool) {
	if v := f.script.Extra[name]; len(v) > 0 && json.Unmarshal(v, &b) != nil {
		f.wrong(name, "true or false")
	}
	return b
}

func (f *said) names(name string) (list []string) {
	if v := f.script.Extra[name]; len(v) > 0 && (json.Unmarshal(v, &list) != nil || slices.Contains(list, "")) {
		f.wrong(name, "a list of argument names")
	}
	return list
}

// limits remembers what versions of scripts say.
type limits struct {
	mu   sync.RWMutex
	seen map[version]*engine.Limits // nil: no limits; guarded by mu
}

type version struct {
	workspace string
	hash      engine.Hash
}

const limitsKept = 10_000

func (m *limits) of(ws string, s *engine.Script) (*engine.Limits, error) {
	k := version{ws, s.Hash}
	m.mu.RLock()
	l, ok := m.seen[k]
	m.mu.RUnlock()
	if ok {
		return l, nil
	}
	l, err := parseLimits(s)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil || len(m.seen) >= limitsKept {
		m.seen = map[version]*engine.Limits{}
	}
	m.seen[k] = l
	return l, nil
}

// limit gives a run of s the limits that s says, with keys of this run's arguments.
func (s *Jobs) limit(script *engine.Script, j *engine.Job) error {
	l, err := s.limits.of(j.Workspace, script)
	if err != nil || l == nil {
		return err
	}
	if j.Priority == 0 {
		j.Priority = l.Priority
	}
	j.CacheFor, j.CacheAnyPath = l.CacheFor, l.CacheAnyPath
	if l.Limit != nil {
		c := *l.Limit
		c.Key = shorten(expand(c.Key, defaultKey(j), j))
		j.Limit = &c
	}
	if l.Debounce != nil {
		d := *l.Debounce
		name := defaultKey(j)
		if d.Key == "" { // only runs with the same other arguments are merged
			name += ":" + fingerprint(j.Args, d.Accumulate)
		}
		d.Key = shorten(expand(d.Key, name, j))
		j.Debounce = &d
	}
	return nil
}

// Relimit makes the limits of a job anew that was copied from a template and has other arguments.
func (s *Jobs) Relimit(ctx context.Context, j *engine.Job) error {
	if j.Limit == nil && j.Debounce == nil {
		return nil
	}
	if j.Kind == engine.KindFlow {
		f, _, err := s.Flow(ctx, j.Workspace, j.Path, j.Hash)
		if err == nil {
			s.LimitFlow(j, &f.Value)
		}
		return err
	}
	script, err := s.cfg.Scripts.ByHash(ctx, j.Workspace, j.Hash)
	if err != nil {
		return err
	}
	return s.limit(script, j)
}

func defaultKey(j *engine.Job) string { return j.Workspace + "/script/" + j.Path }

// expand fills a key's template: $workspace, and $args[name] or $args[name.field] with a text as it is and anything else as JSON.
// When nothing is left of it the key is otherwise.
func expand(template, otherwise string, j *engine.Job) string {
	if key := fill(template, j); key != "" {
		return key
	}
	return otherwise
}

func fill(template string, j *engine.Job) string {
	s := strings.ReplaceAll(template, "$workspace", j.Workspace)
	const mark = "$args["
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(s, mark)
		b.WriteString(head)
		name, tail, closed := strings.Cut(rest, "]")
		if !found {
			return b.String()
		}
		if !closed {
			b.WriteString(mark + rest)
			return b.String()
		}
		b.WriteString(argument(j.Args, name))
		s = tail
	}
}

// argument is the value that name leads to in args, "" when there is none.
func argument(args json.RawMessage, name string) string {
	var top map[string]json.RawMessage
	if json.Unmarshal(args, &top) != nil {
		return ""
	}
	v, ok := top[name]
	if !ok {
		head, rest, nested := strings.Cut(name, ".")
		if nested {
			return argument(top[head], rest)
		}
		return ""
	}
	var text string
	if json.Unmarshal(v, &text) == nil && string(v) != "null" {
		return text
	}
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return ""
	}
	return b.String()
}

// fingerprint is a short name of args without some of them.
func fingerprint(args json.RawMessage, without []string) string {
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var top map[string]any
	if d.Decode(&top) == nil {
		for _, name := range without {
			delete(top, name)
		}
		if sorted, err := json.Marshal(top); err == nil {
			args = sorted
		}
	}
	sum := sha256.Sum256(args)
	return hex.EncodeToString(sum[:12])
}

// shorten makes a key that can be stored: what does not fit is named by its hash.
func shorten(key string) string {
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return strings.ToValidUTF8(key[:maxKey-50], "") + "#" + hex.EncodeToString(sum[:12])
}

// tell lets those who wait know of jobs that a push completed.
func (s *Jobs) tell(ctx context.Context, ws string, res engine.PushResult) {
	var ended []uuid.UUID
	if res.Ended {
		ended = append(ended, res.ID)
	}
	if res.Replaced != nil {
		ended = append(ended, *res.Replaced)
	}
	for _, id := range ended {
		if v, err := s.cfg.Queue.Get(ctx, ws, id); err == nil && v.FinishedAt != nil {
			s.cfg.Bus.PublishDone(v)
		} else {
			s.cfg.Bus.Publish(id)
		}
	}
}
