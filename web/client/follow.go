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

// retries is how often in a row a broken stream is taken up again without any news in between.
const retries = 5

// Follow calls each with every update of the job until it is completed, and returns the completed job. Streams that
// break or that the server ends are taken up where they were. An error of each ends following and is returned.
func (c *Client) Follow(ctx context.Context, id uuid.UUID, each func(wire.Update) error) (*wire.Job, error) {
	f := &following{c: c, id: id, each: each}
	for failures := 0; ; {
		progressed, err := f.once(ctx)
		switch {
		case f.last != nil:
			return f.last, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && !errors.Is(err, errBroken):
			return nil, err
		}
		if failures++; progressed {
			failures = 0
		}
		if failures > retries {
			return nil, fmt.Errorf("follow job %s: %w", id, err)
		}
		if err := rest(ctx, time.Duration(failures)*200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// errBroken marks what another try may mend.
var errBroken = errors.New("the stream broke")

type following struct {
	c           *Client
	id          uuid.UUID
	each        func(wire.Update) error
	log, stream int64     // offsets seen
	last        *wire.Job // set when completed
}

// once reads one stream to its end.
func (f *following) once(ctx context.Context) (progressed bool, err error) {
	q := url.Values{"fast": {"true"}, "log_offset": {strconv.FormatInt(f.log, 10)}, "stream_offset": {strconv.FormatInt(f.stream, 10)}}
	resp, err := f.c.send(ctx, call{method: http.MethodGet, path: f.c.here("/jobs_u/getupdate_sse/" + f.id.String()), query: q})
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Status < 500 {
			return false, err
		}
		return false, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the stream should have said its last word
			}
			return progressed, fmt.Errorf("%w: %w", errBroken, err)
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		over, err := f.event(data)
		if over || err != nil {
			return true, err
		}
		progressed = true
	}
}

// event handles one event; over means that the server ends this stream.
func (f *following) event(data []byte) (over bool, err error) {
	var u wire.Update
	if err := json.Unmarshal(data, &u); err != nil {
		return false, fmt.Errorf("decode event: %w", err)
	}
	switch u.Type {
	case "update":
		f.log, f.stream = u.LogOffset, u.StreamOffset
		if err := f.each(u); err != nil {
			return false, err
		}
		if u.Completed {
			f.last = u.Job
		}
		return u.Completed, nil
	case "notfound":
		return false, &Error{Status: http.StatusNotFound, Body: "Not found: job " + f.id.String(), Method: http.MethodGet, Path: "getupdate_sse"}
	case "error":
		return false, &Error{Status: http.StatusInternalServerError, Body: strings.TrimSpace(u.Error), Method: http.MethodGet, Path: "getupdate_sse"}
	case "timeout":
		return true, nil
	}
	return false, nil // kinds of a newer server
}

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
