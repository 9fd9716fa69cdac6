package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/wire"
)

// Run asks for a run. Exactly one of Path, Hash, FlowPath, FlowVersion, Preview and Flow says of what.
type Run struct {
	Path        string
	Hash        string // 16 hexadecimal digits
	FlowPath    string
	FlowVersion int64
	Preview     *wire.Preview     // its Args win over those below
	Flow        *wire.FlowPreview // likewise
	Args        json.RawMessage

	Tag            string
	Priority       int16
	Timeout        time.Duration // whole seconds
	ScheduledFor   time.Time
	Parent         *uuid.UUID
	ID             *uuid.UUID
	IdempotencyKey string
}

func (r Run) call(c *Client, verb string) (call, error) {
	k := call{method: http.MethodPost, query: r.query(), header: http.Header{}, body: r.Args}
	if r.IdempotencyKey != "" {
		k.header.Set("Idempotency-Key", r.IdempotencyKey)
	}
	if k.body == nil {
		k.body = []byte("{}")
	}
	switch {
	case r.Preview != nil:
		p := *r.Preview
		if p.Args == nil {
			p.Args = r.Args
		}
		b, err := json.Marshal(p)
		if err != nil {
			return call{}, fmt.Errorf("encode preview: %w", err)
		}
		k.path, k.body = c.here("/jobs/"+verb+"/preview"), b
	case r.Flow != nil:
		p := *r.Flow
		if p.Args == nil {
			p.Args = r.Args
		}
		b, err := json.Marshal(p)
		if err != nil {
			return call{}, fmt.Errorf("encode flow: %w", err)
		}
		k.path, k.body = c.here("/jobs/"+verb+"/preview_flow"), b
	case r.Hash != "":
		k.path = c.here("/jobs/" + verb + "/h/" + url.PathEscape(r.Hash))
	case r.Path != "":
		k.path = c.here("/jobs/" + verb + "/p/" + segments(r.Path))
	case r.FlowPath != "":
		k.path = c.here("/jobs/" + verb + "/f/" + segments(r.FlowPath))
	case r.FlowVersion != 0:
		k.path = c.here("/jobs/" + verb + "/fv/" + strconv.FormatInt(r.FlowVersion, 10))
	default:
		return call{}, errors.New("client: a run needs a path, a hash, a version or a preview")
	}
	return k, nil
}

func (r Run) query() url.Values {
	q := url.Values{}
	if r.Tag != "" {
		q.Set("tag", r.Tag)
	}
	if r.Priority != 0 {
		q.Set("priority", strconv.Itoa(int(r.Priority)))
	}
	if r.Timeout > 0 {
		q.Set("timeout", strconv.FormatInt(int64((r.Timeout+time.Second-1)/time.Second), 10))
	}
	if !r.ScheduledFor.IsZero() {
		q.Set("scheduled_for", r.ScheduledFor.Format(time.RFC3339Nano))
	}
	if r.Parent != nil {
		q.Set("parent_job", r.Parent.String())
	}
	if r.ID != nil {
		q.Set("job_id", r.ID.String())
	}
	return q
}

// Run returns the job's id once the job is durable.
func (c *Client) Run(ctx context.Context, r Run) (uuid.UUID, error) {
	k, err := r.call(c, "run")
	if err != nil {
		return uuid.UUID{}, err
	}
	s, err := c.text(ctx, k)
	if err != nil {
		return uuid.UUID{}, err
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("the daemon answered no job id: %w", err)
	}
	return id, nil
}

// RunWait returns the result's bytes. A failed job is an *Error with status 500 whose body is {"error": ...}; one that
// takes longer than the server waits is an *Error with status 504.
func (c *Client) RunWait(ctx context.Context, r Run) (json.RawMessage, error) {
	k, err := r.call(c, "run_wait_result")
	if err != nil {
		return nil, err
	}
	return c.bytes(ctx, k)
}

// Job returns a job; logs are left out unless asked for.
func (c *Client) Job(ctx context.Context, id uuid.UUID, withLogs bool) (*wire.Job, error) {
	var j wire.Job
	q := url.Values{"no_logs": {strconv.FormatBool(!withLogs)}}
	if err := c.get(ctx, c.here("/jobs_u/get/"+id.String()), q, &j); err != nil {
		return nil, err
	}
	return &j, nil
}

// Result returns the result of a completed job; IsNotFound before that.
func (c *Client) Result(ctx context.Context, id uuid.UUID) (json.RawMessage, error) {
	return c.bytes(ctx, call{method: http.MethodGet, path: c.here("/jobs_u/completed/get_result/" + id.String())})
}

// ResultMaybe tells whether the job is completed, and its result if so.
func (c *Client) ResultMaybe(ctx context.Context, id uuid.UUID) (*wire.Maybe, error) {
	var m wire.Maybe
	if err := c.get(ctx, c.here("/jobs_u/completed/get_result_maybe/"+id.String()), nil, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// Logs returns what the job has printed, from a byte offset on.
func (c *Client) Logs(ctx context.Context, id uuid.UUID, offset int64) (string, error) {
	q := url.Values{"offset": {strconv.FormatInt(offset, 10)}}
	return c.text(ctx, call{method: http.MethodGet, path: c.here("/jobs_u/get_logs/" + id.String()), query: q})
}

// Cancel cancels a queued or running job.
func (c *Client) Cancel(ctx context.Context, id uuid.UUID, reason string) error {
	_, err := c.post(ctx, c.here("/jobs_u/queue/cancel/"+id.String()), nil, wire.CancelBody{Reason: reason})
	return err
}

// Jobs lists jobs; filter holds query parameters of the list, such as "status" or "page", and may be nil.
func (c *Client) Jobs(ctx context.Context, filter url.Values) ([]wire.Job, error) {
	var list []wire.Job
	err := c.get(ctx, c.here("/jobs/list"), filter, &list)
	return list, err
}
