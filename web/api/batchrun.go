package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

const batchPath = "/jobs/run/batch/"

// Streams tells whether a request's body is read by its handler as it comes. All others are read before, within a limit.
func Streams(ctx *fasthttp.RequestCtx) bool {
	path, ok := bytes.CutPrefix(ctx.Path(), []byte("/api/w/"))
	if !ok || !ctx.IsPost() {
		return false
	}
	i := bytes.IndexByte(path, '/')
	return i > 0 && bytes.HasPrefix(path[i:], []byte(batchPath))
}

var batchParams = []Param{
	query("name", "string", "a name for people"),
	query("format", "string", "ndjson, csv or json, when Content-Type does not say"),
	query("on_error", "string", "keep: rows that were stored run although a later one is wrong; otherwise they are canceled"),
	query("tag", "string", "which workers may take the jobs"),
	query("priority", "integer", "higher first"),
	query("scheduled_for", "string", "RFC 3339 time before which no job starts"),
	query("scheduled_in_secs", "integer", "the same, in seconds from now"),
	query("timeout", "integer", "seconds that each run may take"),
	{Name: "Idempotency-Key", Type: "string", Header: true, Doc: "a second request with the same key goes on with the first one's batch: no row runs twice"},
}

func (h *API) batchRunRoutes() []Route {
	const b = "/api/w/{workspace}" + batchPath
	rows := Shape{Type: typeLines, Doc: "a JSON object of arguments a line; or text/csv, the first line names the arguments; or application/json, an array of objects. May be gzip-encoded, and of any length"}
	answer := Shape{Type: typeText, Doc: "the batch's id, once all rows are stored; with Accept: application/json {\"id\", \"total\"}"}
	return []Route{
		{Method: "POST", Path: b + "p/{path:*}", Name: "runBatchByPath", Group: "batches", Access: User, Params: batchParams, Status: statusNew,
			Summary: "Runs a script for each row of the body", Body: rows, Answer: answer, Handle: h.runBatch(batchByPath)},
		{Method: "POST", Path: b + "h/{hash}", Name: "runBatchByHash", Group: "batches", Access: User, Params: batchParams, Status: statusNew,
			Summary: "Runs one version of a script for each row of the body", Body: rows, Answer: answer, Handle: h.runBatch(batchByHash)},
		{Method: "POST", Path: b + "f/{path:*}", Name: "runBatchFlowByPath", Group: "batches", Access: User, Params: batchParams, Status: statusNew,
			Summary: "Runs a flow for each row of the body", Body: rows, Answer: answer, Handle: h.runBatch(batchFlowByPath)},
		{Method: "POST", Path: b + "fv/{version}", Name: "runBatchFlowByVersion", Group: "batches", Access: User, Params: batchParams, Status: statusNew,
			Summary: "Runs one version of a flow for each row of the body", Body: rows, Answer: answer, Handle: h.runBatch(batchFlowByVersion)},
		{Method: "POST", Path: b + "noop", Name: "runBatchNoop", Group: "batches", Access: User, Params: batchParams, Status: statusNew,
			Summary: "Runs a job that does nothing for each row of the body", Body: rows, Answer: answer, Handle: h.runBatch(batchNoop)},
	}
}

func batchByPath(a *Ask, r *engine.RunRequest) (err error) {
	if r.Path, err = a.param("path"); err != nil {
		return err
	}
	return engine.CheckPath("run", r.Path)
}

func batchByHash(a *Ask, r *engine.RunRequest) (err error) {
	r.Hash, err = a.hash()
	return err
}

func batchFlowByPath(a *Ask, r *engine.RunRequest) error {
	r.Kind = engine.KindFlow
	return batchByPath(a, r)
}

func batchFlowByVersion(a *Ask, r *engine.RunRequest) error {
	n, err := a.version()
	r.Kind, r.Hash = engine.KindFlow, engine.Hash(n)
	return err
}

func batchNoop(_ *Ask, r *engine.RunRequest) error {
	r.Kind = engine.KindNoop
	return nil
}

// runBatch receives the rows of the body and answers when all are stored.
func (h *API) runBatch(target func(*Ask, *engine.RunRequest) error) func(*Ask) error {
	return func(a *Ask) error {
		r, err := batchRequest(a)
		if err != nil {
			return err
		}
		if err := target(a, &r.Run); err != nil {
			return err
		}
		batch, err := h.batches.Receive(a.Base, a.Who, r)
		if err != nil {
			return err
		}
		return answerNew(a, batch)
	}
}

// answerNew tells the id of a new batch, as JSON to whoever asks for it.
func answerNew(a *Ask, b *engine.Batch) error {
	if strings.Contains(string(a.Request.Header.Peek("Accept")), typeJSON) {
		if err := JSON(a.RequestCtx, wire.NewBatch{ID: b.ID, Total: b.Total}); err != nil {
			return err
		}
		a.SetStatusCode(statusNew)
		return nil
	}
	Text(a.RequestCtx, statusNew, b.ID.String())
	return nil
}

func batchRequest(a *Ask) (engine.BatchRequest, error) {
	o := a.options()
	r := engine.BatchRequest{Name: o.text("name")}
	r.Run = engine.RunRequest{Workspace: a.Workspace, Trigger: a.trigger(), Tag: o.text("tag"), ScheduledFor: o.time("scheduled_for")}
	if n, given := o.whole("scheduled_in_secs", 0, 100*365*24*3600); given {
		r.Run.ScheduledFor = time.Now().Add(time.Duration(n) * time.Second)
	}
	if n, given := o.whole("timeout", 1, maxTimeout); given {
		r.Run.Timeout = time.Duration(n) * time.Second
	}
	if n, given := o.whole("priority", math.MinInt16, math.MaxInt16); given {
		r.Run.Priority = int16(n)
	}
	switch v := o.text("on_error"); v {
	case "", "cancel":
	case "keep":
		r.Keep = true
	default:
		o.fail("query parameter on_error must be cancel or keep")
	}
	format := o.text("format")
	if o.err != nil {
		return r, o.err
	}
	var err error
	if r.Run.IdempotencyKey, err = a.idempotencyKey(); err != nil {
		return r, err
	}
	if r.Format, err = rowFormat(a, format); err != nil {
		return r, err
	}
	r.Rows, err = rowsOf(a)
	return r, err
}

func (a *Ask) trigger() string {
	if a.windmillCLI() || string(a.Request.Header.Peek("X-Millrace-Client")) == "cli" {
		return "cli"
	}
	return "api"
}

func (a *Ask) idempotencyKey() (string, error) {
	key := string(a.Request.Header.Peek("Idempotency-Key"))
	if len(key) > 255 {
		return "", invalid("Idempotency-Key is over 255 bytes")
	}
	return key, nil
}

// rowFormat reads how rows are written: as the parameter format says, else Content-Type.
func rowFormat(a *Ask, format string) (engine.BatchFormat, error) {
	switch f := engine.BatchFormat(format); f {
	case engine.BatchNDJSON, engine.BatchCSV, engine.BatchArray:
		return f, nil
	case "":
	default:
		return "", invalid("query parameter format must be ndjson, csv or json")
	}
	header := string(a.Request.Header.ContentType())
	kind, _, err := mime.ParseMediaType(header)
	if err != nil && header != "" {
		return "", invalid("Content-Type %q is malformed", header)
	}
	switch kind {
	case typeLines, "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines":
		return engine.BatchNDJSON, nil
	case "text/csv":
		return engine.BatchCSV, nil
	case typeJSON:
		return engine.BatchArray, nil
	}
	return "", invalid("rows of type %q are not understood; send application/x-ndjson, text/csv or application/json, or say format=", header)
}

// rowsOf is the body as it comes, decompressed.
func rowsOf(a *Ask) (io.Reader, error) {
	stream := &body{ctx: a.RequestCtx, r: a.Request.BodyStream(), length: a.Request.Header.ContentLength()}
	if stream.r == nil {
		return bytes.NewReader(bytes.Clone(a.PostBody())), nil
	}
	switch enc := strings.ToLower(string(a.Request.Header.ContentEncoding())); enc {
	case "", "identity":
		return stream, nil
	case "gzip":
		z, err := gzip.NewReader(stream)
		if err != nil {
			return nil, invalid("the body is not gzip: %v", err)
		}
		return &unzipped{z, stream}, nil
	default:
		return nil, invalid("Content-Encoding %q is not understood; gzip is", enc)
	}
}

// rowPatience is how long a client may take for the next piece of a body.
const rowPatience = 2 * time.Minute

// body reads a request's body from its connection. Each piece may take its time; an end before the announced length is an
// error.
type body struct {
	ctx     *fasthttp.RequestCtx
	r       io.Reader
	length  int // announced; negative: chunked
	got     int
	aborted atomic.Bool
}

var errAborted = errors.New("the request was given up")

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.SetReadDeadline(time.Now().Add(rowPatience)); err != nil {
		return 0, fmt.Errorf("read the body: %w", err)
	}
	if b.aborted.Load() {
		return 0, errAborted
	}
	n, err := b.r.Read(p)
	b.got += n
	if errors.Is(err, io.EOF) && b.length >= 0 && b.got < b.length {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Abort makes a Read that waits return.
func (b *body) Abort() {
	b.aborted.Store(true)
	_ = b.ctx.SetReadDeadline(time.Now()) // fails only on a closed connection
}

// unzipped is a compressed body.
type unzipped struct {
	io.Reader
	in *body
}

func (u *unzipped) Abort() { u.in.Abort() }
