package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/stream"
	"github.com/millrace/millrace/web/wire"
)

const (
	pollPatience = 2 * time.Second       // how long a poll without news is kept
	quietGap     = 25 * time.Millisecond // between two events; news in between are merged
	pingEvery    = 15 * time.Second      // on a quiet stream
	streamLife   = 30 * time.Minute      // then the client is told to come back
)

func (h *API) updateRoutes() []Route {
	params := []Param{
		query("running", "boolean", "what the client knows; a poll is held back until there is news"),
		query("log_offset", "integer", "bytes of the log that the client has"),
		query("stream_offset", "integer", "bytes of the result stream that the client has"),
		query("get_progress", "boolean", "accepted"),
	}
	events := join(params, []Param{
		query("only_result", "boolean", "end with the bare result in only_result instead of the job"),
		query("no_logs", "boolean", "leave logs out"),
		query("fast", "boolean", "do not merge news that come close together"),
	})
	const u = "/api/w/{workspace}/jobs_u/"
	return []Route{
		{Method: "GET", Path: u + "getupdate/{id}", Name: "getJobUpdates", Group: "jobs", Access: User, Params: params,
			Summary: "What changed since the client looked; waits up to 2 s for news", Answer: JSONOf(wire.Update{}), Handle: h.getUpdate},
		{Method: "GET", Path: u + "getupdate_sse/{id}", Name: "getJobUpdatesSSE", Group: "jobs", Access: User, Params: events,
			Summary: "Logs, result stream and completion of a job as server-sent events", Answer: Shape{Type: typeSSE, Value: wire.Update{}}, Handle: h.getUpdateSSE},
	}
}

// follow is one client's look at one job.
type follow struct {
	h              *API
	base           context.Context
	who            engine.Principal
	workspace      string
	id             uuid.UUID
	log, stream    int64 // offsets the client has
	running        bool  // what the client knows
	onlyResult     bool
	noLogs         bool
	fast           bool
	flow, fresh    []byte // status of the flow that the client has, and the last one looked at
	utf16LogOffset bool   // the client counts JavaScript characters
}

func (h *API) follow(a *Ask) (*follow, error) {
	id, err := a.jobID()
	if err != nil {
		return nil, err
	}
	o := a.options()
	f := &follow{h: h, base: a.Base, who: a.Who, workspace: a.Workspace, id: id, running: o.on("running"),
		onlyResult: o.on("only_result"), noLogs: o.on("no_logs"), fast: o.on("fast")}
	f.log, _ = o.whole("log_offset", 0, 1<<62)
	f.stream, _ = o.whole("stream_offset", 0, 1<<62)
	if last := string(a.Request.Header.Peek("Last-Event-ID")); last != "" {
		if l, s, ok := strings.Cut(last, ":"); ok {
			if n, err := strconv.ParseInt(l, 10, 64); err == nil && n >= 0 {
				f.log = n
			}
			if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
				f.stream = n
			}
		}
	}
	f.utf16LogOffset = a.windmillCLI()
	return f, o.err
}

// look asks for what is new. The offsets move on when the news is told.
func (f *follow) look() (wire.Update, *engine.Update, error) {
	from := f.log
	if f.utf16LogOffset {
		from = 0
	}
	u, err := f.h.jobs.Update(f.base, f.who, f.workspace, f.id, from, f.stream)
	if err != nil {
		return wire.Update{}, nil, err
	}
	logs, end := u.Logs, u.LogOffset
	if f.utf16LogOffset {
		logs, end = skipUTF16(logs, f.log)
	}
	if f.noLogs {
		logs = ""
	}
	v := u.View
	status, err := f.flowStatus(v)
	if err != nil {
		return wire.Update{}, nil, err
	}
	return wire.Update{FlowStatus: status, Running: v.State == engine.StateRunning, Completed: done(v.State), NewLogs: logs, LogOffset: end,
		NewResultStream: u.Stream, StreamOffset: u.StreamOffset, MemPeak: v.MemoryPeak / 1024}, u, nil
}

// skipUTF16 drops n UTF-16 units from the start of s and returns the rest with the length of all of s in such units.
func skipUTF16(s string, n int64) (rest string, length int64) {
	rest = ""
	for i, r := range s {
		if length >= n && rest == "" {
			rest = s[i:]
		}
		length++
		if r > 0xffff {
			length++
		}
	}
	return rest, length
}

func (f *follow) news(u wire.Update) bool {
	return u.Completed || u.Running != f.running || u.NewLogs != "" || u.NewResultStream != ""
}

// flowStatus is how far a flow is, when that is news.
func (f *follow) flowStatus(v *engine.JobView) (*engine.FlowStatus, error) {
	if !isFlow(v.Kind) {
		return nil, nil
	}
	status, _, err := f.h.flowRuns.Status(f.base, f.who, f.workspace, f.id)
	if err != nil {
		return nil, err
	}
	if f.fresh, err = encode(status); err != nil || bytes.Equal(f.fresh, f.flow) {
		return nil, err
	}
	return status, nil
}

func (h *API) getUpdate(a *Ask) error {
	f, err := h.follow(a)
	if err != nil {
		return err
	}
	changed, stop, err := h.jobs.Watch(a.Base, a.Who, a.Workspace, f.id)
	if err != nil {
		return err
	}
	defer stop()
	patience := time.NewTimer(pollPatience)
	defer patience.Stop()
	for {
		u, _, err := f.look()
		if err != nil {
			return err
		}
		if f.news(u) {
			return JSON(a.RequestCtx, u)
		}
		select {
		case _, open := <-changed:
			if !open {
				changed = nil
			}
		case <-patience.C:
			return JSON(a.RequestCtx, u)
		case <-h.draining:
			return JSON(a.RequestCtx, u)
		case <-a.Base.Done():
			return a.Base.Err()
		}
	}
}

func (h *API) getUpdateSSE(a *Ask) error {
	f, err := h.follow(a)
	if err != nil {
		return err
	}
	f.utf16LogOffset = false // events tell the offset, nobody has to count
	changed, stop, err := h.jobs.Watch(a.Base, a.Who, a.Workspace, f.id)
	if err != nil && engine.CodeOf(err) != engine.NotFound {
		return err
	}
	log := h.log
	h.streams.Add(1)
	stream.Serve(a.RequestCtx, log, func(w *stream.Writer) {
		defer h.streams.Add(-1)
		if err != nil {
			_ = w.Event("", []byte(`{"type":"notfound"}`)) // an error means that the client is gone already
			return
		}
		defer stop()
		if err := f.events(w, changed); err != nil && !errors.Is(err, errGone) {
			log.Error().Err(err).Stringer("job", f.id).Msg("event stream failed")
		}
	})
	return nil
}

// errGone says that the client does not read any more, which is its right.
var errGone = errors.New("client is gone")

// events sends news until the job is completed, the client is gone or the stream is old.
func (f *follow) events(w *stream.Writer, changed <-chan struct{}) error {
	life, ping := time.NewTimer(streamLife), time.NewTicker(pingEvery)
	defer life.Stop()
	defer ping.Stop()
	for first := true; ; first = false {
		u, full, err := f.look()
		if err != nil {
			return f.apologise(w, err)
		}
		if first || f.news(u) || u.FlowStatus != nil {
			if err := f.tell(w, u, full); err != nil || u.Completed {
				return err
			}
			if err := f.pause(); err != nil {
				return nil //nolint:nilerr // the daemon gives up on requests: the client comes back by itself
			}
		}
		for waiting := true; waiting; {
			select {
			case _, open := <-changed:
				if waiting = false; !open {
					changed = nil
				}
			case <-ping.C:
				if w.Ping() != nil {
					return errGone
				}
				waiting = false // looking again forgives a lost signal
			case <-life.C:
				return gone(w.Event("", []byte(`{"type":"timeout"}`)))
			case <-f.h.draining:
				return gone(w.Event("", []byte(`{"type":"timeout"}`)))
			case <-f.base.Done():
				return nil
			}
		}
	}
}

// pause merges what comes close together.
func (f *follow) pause() error {
	if f.fast {
		return nil
	}
	gap := time.NewTimer(quietGap)
	defer gap.Stop()
	select {
	case <-gap.C:
		return nil
	case <-f.base.Done():
		return f.base.Err()
	}
}

func (f *follow) tell(w *stream.Writer, u wire.Update, full *engine.Update) error {
	u.Type = "update"
	f.log, f.stream, f.running, f.flow = u.LogOffset, u.StreamOffset, u.Running, f.fresh
	if u.Completed {
		if f.onlyResult {
			r, err := resultOf(full.View)
			if err != nil {
				return err
			}
			u.OnlyResult = &r
		} else {
			j, err := viewJob(full.View)
			if err == nil && isFlow(j.JobKind) {
				j.FlowStatus, j.RawFlow, err = f.h.flowRuns.Status(f.base, f.who, f.workspace, f.id)
			}
			if err != nil {
				return err
			}
			u.Job = j
		}
	}
	b, err := encode(u)
	if err != nil {
		return err
	}
	return gone(w.Event(fmt.Sprintf("%d:%d", f.log, f.stream), b))
}

// apologise tells the client what the log tells in full.
func (f *follow) apologise(w *stream.Writer, cause error) error {
	u, code := wire.Update{Type: "error", Error: "the job cannot be followed now; try again"}, engine.CodeOf(cause)
	if code != engine.Internal {
		_, head := statusOf(code)
		u.Error, cause = head+": "+describe(cause), nil
	}
	if code == engine.NotFound {
		u.Type = "notfound"
	}
	if b, err := encode(u); err == nil && w.Event("", b) != nil {
		return errGone
	}
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	return cause
}

func gone(err error) error {
	if err != nil {
		return errGone
	}
	return nil
}
