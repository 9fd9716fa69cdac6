package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/wire"
)

// BatchRun asks for runs of one thing for many rows. Path, Hash or neither, which is noop, says of what.
type BatchRun struct {
	Path   string
	Hash   string    // 16 hexadecimal digits
	Format string    // of Rows: "ndjson", "csv" or "json"
	Rows   io.Reader // sent as it is read
	Name   string
	Keep   bool // rows that were stored run although a later one is wrong

	Tag            string
	Priority       int16
	Timeout        time.Duration // whole seconds
	ScheduledFor   time.Time
	IdempotencyKey string // sending the rows again with the same key goes on where an earlier try broke off
}

var rowTypes = map[string]string{"ndjson": "application/x-ndjson", "csv": "text/csv", "json": "application/json"}

// RunBatch sends all rows and returns the batch's id once they are durable.
func (c *Client) RunBatch(ctx context.Context, b BatchRun) (uuid.UUID, error) {
	kind, ok := rowTypes[b.Format]
	if !ok {
		return uuid.UUID{}, fmt.Errorf("client: %q is not a format of rows", b.Format)
	}
	r := Run{Tag: b.Tag, Priority: b.Priority, Timeout: b.Timeout, ScheduledFor: b.ScheduledFor}
	k := call{method: http.MethodPost, path: c.here("/jobs/run/batch/noop"), query: r.query(), header: http.Header{"Content-Type": {kind}}, stream: b.Rows}
	switch {
	case b.Hash != "":
		k.path = c.here("/jobs/run/batch/h/" + url.PathEscape(b.Hash))
	case b.Path != "":
		k.path = c.here("/jobs/run/batch/p/" + segments(b.Path))
	}
	if b.Name != "" {
		k.query.Set("name", b.Name)
	}
	if b.Keep {
		k.query.Set("on_error", "keep")
	}
	if b.IdempotencyKey != "" {
		k.header.Set("Idempotency-Key", b.IdempotencyKey)
	}
	return c.newID(ctx, k)
}

func (c *Client) newID(ctx context.Context, k call) (uuid.UUID, error) {
	s, err := c.text(ctx, k)
	if err != nil {
		return uuid.UUID{}, err
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("the daemon answered no id: %w", err)
	}
	return id, nil
}

// GetBatch returns a batch and how far it is.
func (c *Client) GetBatch(ctx context.Context, id uuid.UUID) (*wire.Batch, error) {
	var b wire.Batch
	if err := c.get(ctx, c.here("/batches/get/"+id.String()), nil, &b); err != nil {
		return nil, err
	}
	return &b, nil
}

// Batches lists batches, newest first; filter holds query parameters of the list and may be nil.
func (c *Client) Batches(ctx context.Context, filter url.Values) ([]wire.Batch, error) {
	var list []wire.Batch
	err := c.get(ctx, c.here("/batches/list"), filter, &list)
	return list, err
}

// CancelBatch ends what is queued or running of a batch.
func (c *Client) CancelBatch(ctx context.Context, id uuid.UUID, reason string) error {
	_, err := c.post(ctx, c.here("/batches/cancel/"+id.String()), nil, wire.CancelBody{Reason: reason})
	return err
}

// RerunBatch runs the rows of a batch that ended in one of some ways again; options holds query parameters: status, version ...
func (c *Client) RerunBatch(ctx context.Context, id uuid.UUID, options url.Values) (uuid.UUID, error) {
	return c.newID(ctx, call{method: http.MethodPost, path: c.here("/batches/rerun/" + id.String()), query: options})
}

// RerunJobs runs the completed jobs that a filter selects again, as a new batch.
func (c *Client) RerunJobs(ctx context.Context, filter url.Values) (uuid.UUID, error) {
	return c.newID(ctx, call{method: http.MethodPost, path: c.here("/jobs/rerun"), query: filter})
}

// CountRerun says what RerunJobs would run.
func (c *Client) CountRerun(ctx context.Context, filter url.Values) (*RerunCount, error) {
	q := url.Values{"dry_run": {"true"}}
	for k, v := range filter {
		q[k] = v
	}
	b, err := c.bytes(ctx, call{method: http.MethodPost, path: c.here("/jobs/rerun"), query: q})
	if err != nil {
		return nil, err
	}
	var n RerunCount
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	return &n, nil
}

// errMore says that a page of results ended before the results did.
var errMore = errors.New("the results break off")

// BatchResults calls each with every row of a batch, in their order. status narrows them, as "failure"; "" is any. An answer
// that breaks off is taken up where it was.
func (c *Client) BatchResults(ctx context.Context, id uuid.UUID, status string, each func(wire.BatchRow) error) error {
	for failures, after := 0, int64(0); ; {
		last, err := c.resultsFrom(ctx, id, status, after, each)
		if !errors.Is(err, errMore) {
			return err
		}
		if failures++; last > after {
			failures = 0
		}
		if failures > retries {
			return fmt.Errorf("read the results of batch %s: %w", id, err)
		}
		after = last
		if err := rest(ctx, time.Duration(failures)*200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (c *Client) resultsFrom(ctx context.Context, id uuid.UUID, status string, after int64, each func(wire.BatchRow) error) (last int64, err error) {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if status != "" {
		q.Set("status", status)
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: c.here("/batches/results/" + id.String()), query: q})
	if err != nil {
		return after, err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return after, nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return after, ctx.Err()
			}
			return after, fmt.Errorf("%w: %w", errMore, err)
		}
		var row wire.BatchRow
		if err := json.Unmarshal(line, &row); err != nil {
			return after, fmt.Errorf("decode a row: %w", err)
		}
		if row.Error != "" {
			return after, fmt.Errorf("%w: %s", errMore, row.Error)
		}
		if err := each(row); err != nil {
			return after, err
		}
		after = row.Row
	}
}

// FollowBatch calls each with the progress of a batch until it is over, and returns it then.
func (c *Client) FollowBatch(ctx context.Context, id uuid.UUID, each func(*wire.Batch) error) (*wire.Batch, error) {
	for failures := 0; ; {
		last, err := c.followBatch(ctx, id, each)
		switch {
		case last != nil && last.Over && err == nil:
			return last, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && !errors.Is(err, errBroken):
			return nil, err
		}
		if failures++; last != nil {
			failures = 0
		}
		if failures > retries {
			return nil, fmt.Errorf("follow batch %s: %w", id, err)
		}
		if err := rest(ctx, time.Duration(failures)*200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// followBatch reads one stream to its end and returns the last news.
func (c *Client) followBatch(ctx context.Context, id uuid.UUID, each func(*wire.Batch) error) (last *wire.Batch, err error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: c.here("/batches/progress_sse/" + id.String())})
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status < 500 {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if last != nil && last.Over {
				return last, nil
			}
			return last, fmt.Errorf("%w: %w", errBroken, err)
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		var u wire.BatchUpdate
		if err := json.Unmarshal(data, &u); err != nil {
			return last, fmt.Errorf("decode event: %w", err)
		}
		if u.Batch == nil {
			return last, nil // it is time to come back
		}
		last = u.Batch
		if err := each(last); err != nil {
			return last, err
		}
		if last.Over {
			return last, nil
		}
	}
}

// RerunEach runs jobs again, each on its own, and returns a line for each: the new job's id, or "Error: ...".
func (c *Client) RerunEach(ctx context.Context, r wire.RerunJobs) ([]string, error) {
	s, err := c.post(ctx, c.here("/jobs/run/batch_rerun_jobs"), nil, r)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n"), nil
}

// CancelSelection cancels several jobs and returns those that were.
func (c *Client) CancelSelection(ctx context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	s, err := c.post(ctx, c.here("/jobs/queue/cancel_selection"), nil, ids)
	if err != nil {
		return nil, err
	}
	var canceled []uuid.UUID
	if err := json.Unmarshal([]byte(s), &canceled); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	return canceled, nil
}
