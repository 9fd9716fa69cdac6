package webtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

const batchHello = w + "jobs/run/batch/p/f/demo/hello"

// receive sends lines to a path below jobs/ and returns the batch's id.
func receive(t *testing.T, d *Daemon, path, lines string) uuid.UUID {
	t.Helper()
	resp, err := d.Local.Post("http://x"+w+"jobs/"+path, "application/x-ndjson", strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	id, err := uuid.Parse(string(b))
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("status %d, %s: %v", resp.StatusCode, b, err)
	}
	return id
}

func TestBatches(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	first := receive(t, d, "run/batch/p/f/demo/hello?name=monday", "{\"n\":1}\n{\"fail\":true}\n{\"n\":3}\n")
	open := receive(t, d, "run/batch/noop", "{}\n{}\n")
	e.Progress(open, func(b *engine.Batch) {
		b.State, b.Done, b.Queued, b.Rate = engine.BatchRunning, 0, 2, 0.5
	})
	lines, csv := map[string]string{"Content-Type": "application/jsonl"}, map[string]string{"Content-Type": "text/csv; charset=utf-8"}
	b := w + "batches/"
	play(t, d, []scenario{
		{name: "lines", method: "POST", path: batchHello, header: lines, body: "{}\n", status: 201, kind: "text/plain"},
		{name: "table", method: "POST", path: batchHello, header: csv, body: "a,b\n1,2\n", status: 201},
		{name: "array, answered as JSON", method: "POST", path: batchHello, header: map[string]string{"Content-Type": "application/json", "Accept": "application/json"},
			body: "[{}]\n", status: 201, kind: "application/json", want: []string{`"total":1`, `"id":"`}},
		{name: "format by parameter", method: "POST", path: batchHello + "?format=ndjson", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, body: "{}\n", status: 201},
		{name: "by hash", method: "POST", path: w + "jobs/run/batch/h/0000000000001000", header: lines, body: "{}\n", status: 201},
		{name: "wrong row", method: "POST", path: batchHello, header: lines, body: "{}\nbad\n", status: 400, want: []string{"line 2: not valid JSON"}},
		{name: "no type", method: "POST", path: batchHello, header: map[string]string{"Content-Type": "image/png"}, body: "x\n", status: 400, want: []string{"image/png"}},
		{name: "no such format", method: "POST", path: batchHello + "?format=xml", header: lines, body: "{}\n", status: 400},
		{name: "no such encoding", method: "POST", path: batchHello, header: map[string]string{"Content-Type": "text/csv", "Content-Encoding": "br"}, body: "{}\n", status: 400, want: []string{"gzip is"}},
		{name: "not gzip", method: "POST", path: batchHello, header: map[string]string{"Content-Type": "text/csv", "Content-Encoding": "gzip"}, body: "{}\n", status: 400},
		{name: "on_error", method: "POST", path: batchHello + "?on_error=ignore", header: lines, body: "{}\n", status: 400},
		{name: "no such script", method: "POST", path: w + "jobs/run/batch/p/f/no/no", header: lines, body: "{}\n", status: 404},
		{name: "not a path", method: "POST", path: w + "jobs/run/batch/p/nonsense", header: lines, body: "{}\n", status: 400},
		{name: "long key", method: "POST", path: batchHello, header: map[string]string{"Content-Type": "text/csv", "Idempotency-Key": strings.Repeat("k", 300)}, body: "{}\n", status: 400},
		{name: "get", path: b + "get/" + first.String(), status: 200, kind: "application/json", want: []string{`"name":"monday"`, `"state":"done"`, `"total":3`, `"failed":1`, `"over":true`}, not: []string{"eta_seconds"}},
		{name: "get running", path: b + "get/" + open.String(), status: 200, want: []string{`"state":"running"`, `"queued":2`, `"rate":0.5`, `"eta_seconds":4`, `"job_kind":"noop"`}},
		{name: "get unknown", path: b + "get/" + uuid.NewString(), status: 404},
		{name: "get elsewhere", path: "/api/w/other/batches/get/" + first.String(), status: 404},
		{name: "get nonsense", path: b + "get/x", status: 400},
		{name: "list", path: b + "list?state=running", status: 200, want: []string{open.String()}, not: []string{first.String()}},
		{name: "list of a script", path: b + "list?script_path_exact=f/demo/hello", status: 200, want: []string{first.String()}, not: []string{open.String()}},
		{name: "list of no state", path: b + "list?state=lost", status: 400},
		{name: "results", path: b + "results/" + first.String(), status: 200, kind: "application/x-ndjson", exact: fmt.Sprintf(
			`{"row":1,"job":"%s","status":"success","result":{"n":1}}
{"row":2,"job":"%s","status":"failure","result":{"error":{"name":"E","message":"m"}}}
{"row":3,"job":"%s","status":"success","result":{"n":3}}
`, engine.BatchJobID(first, 1), engine.BatchJobID(first, 2), engine.BatchJobID(first, 3))},
		{name: "results of failures", path: b + "results/" + first.String() + "?status=failure", status: 200, want: []string{`"row":2`}, not: []string{`"row":1`}},
		{name: "results after", path: b + "results/" + first.String() + "?after=2", status: 200, want: []string{`"row":3`}, not: []string{`"row":2`}},
		{name: "results of no status", path: b + "results/" + first.String() + "?status=lost", status: 400},
		{name: "results unknown", path: b + "results/" + uuid.NewString(), status: 404},
		{name: "rerun", method: "POST", path: b + "rerun/" + first.String(), status: 201},
		{name: "rerun of no status", method: "POST", path: b + "rerun/" + first.String() + "?status=queued", status: 400},
		{name: "rerun of no version", method: "POST", path: b + "rerun/" + first.String() + "?version=second", status: 400},
		{name: "cancel what is over", method: "POST", path: b + "cancel/" + first.String(), status: 409},
		{name: "cancel", method: "POST", path: b + "cancel/" + open.String(), body: `{"reason":"enough"}`, status: 200, exact: open.String()},
		{name: "canceled", path: b + "get/" + open.String(), status: 200, want: []string{`"state":"canceled"`, `"canceled":2`, `"canceled_by":"root"`, `"canceled_reason":"enough"`}},
	})
}

// TestBatchStreams sends far more than a body may have, and far more than there may be in memory, while other routes refuse as
// ever and small requests on the same connections are not confused.
func TestBatchStreams(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, func(c *web.Config) { c.MaxBody = 64 << 10 })
	c := clientOf(t, d)
	line := []byte(`{"text":"` + strings.Repeat("x", 1000) + "\"}\n")
	const rows = 100_000 // 100 MB
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	id, err := c.RunBatch(t.Context(), client.BatchRun{Path: "f/demo/hello", Format: "ndjson", Rows: repeat(line, rows)})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got, err := c.GetBatch(t.Context(), id); err != nil || got.Total == nil || *got.Total != rows {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, n := e.Received(id); n != rows*len(line) {
		t.Errorf("%d bytes arrived, %d were sent", n, rows*len(line))
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 50<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	for name, body := range map[string]io.Reader{"announced": bytes.NewReader(make([]byte, 65<<10)), "chunked": io.MultiReader(bytes.NewReader(make([]byte, 65<<10)))} {
		resp, err := d.HTTP.Do(request(t, d, "POST", w+"jobs/run/noop", body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), "over 0 MiB") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	for n, body := range map[int]string{0: "", 1: `{"a":1}`, 20_000: `{"a":"` + strings.Repeat("y", 20_000) + `"}`} {
		for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
			resp, err := d.HTTP.Do(request(t, d, "POST", w+"jobs/run/p/f/demo/hello", r))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if asked := e.Requests(); resp.StatusCode != 201 || (body != "" && string(asked[len(asked)-1].Args) != body) {
				t.Errorf("%d bytes: status %d", n, resp.StatusCode)
			}
		}
	}
}

func clientOf(t *testing.T, d *Daemon) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Socket: d.Socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func request(t *testing.T, d *Daemon, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, d.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer admin-secret")
	r.Header.Set("Content-Type", "application/json")
	return r
}

// repeat reads a line again and again.
func repeat(line []byte, n int) io.Reader {
	r, out := io.Pipe()
	go func() {
		for range n {
			if _, err := out.Write(line); err != nil {
				return
			}
		}
		_ = out.Close() // a pipe's never fails
	}()
	return r
}

// TestBatchErrorWhileSending: the client reads the answer although it has much left to send.
func TestBatchErrorWhileSending(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	c := clientOf(t, d)
	rows := io.MultiReader(strings.NewReader("{}\nbad\n"), repeat([]byte(`{"text":"`+strings.Repeat("x", 10_000)+"\"}\n"), 5000))
	_, err := c.RunBatch(t.Context(), client.BatchRun{Path: "f/demo/hello", Format: "ndjson", Rows: rows})
	if err == nil || !strings.Contains(err.Error(), "line 2: not valid JSON") {
		t.Errorf("%v", err)
	}
}

// TestBatchBreaksOff: an end before the announced length is an error, not the end of the rows.
func TestBatchBreaksOff(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	conn, err := net.Dial("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 20000\r\n\r\n%s", batchHello, strings.Repeat("123456789\n", 1000)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "400") || !strings.Contains(string(answer), "unexpected EOF") {
		t.Errorf("%v: %s", err, answer)
	}
}

func TestBatchGzip(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 1000 {
		fmt.Fprintln(z, `{"a":1}`)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r := request(t, d, "POST", batchHello+"?tag=gpu&priority=3&timeout=7&scheduled_in_secs=60", &packed)
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("Idempotency-Key", "k1")
	resp, err := d.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	id, parseErr := uuid.Parse(string(text))
	if err != nil || parseErr != nil {
		t.Fatalf("%v: %s", err, text)
	}
	asked, n := e.Received(id)
	if n != 8000 {
		t.Errorf("%d bytes", n)
	}
	if a := asked.Run; a.Tag != "gpu" || a.Priority != 3 || a.Timeout != 7*time.Second || a.IdempotencyKey != "k1" || time.Until(a.ScheduledFor) < 50*time.Second {
		t.Errorf("asked %+v", a)
	}
}

func TestFollowBatch(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	c := clientOf(t, d)
	id, err := c.RunBatch(t.Context(), client.BatchRun{Format: "ndjson", Rows: strings.NewReader("{}\n{}\n")})
	if err != nil {
		t.Fatal(err)
	}
	e.Progress(id, func(b *engine.Batch) { b.State, b.Done = engine.BatchRunning, 0 })
	var seen []int64
	last, err := c.FollowBatch(t.Context(), id, func(b *wire.Batch) error {
		seen = append(seen, b.Done)
		e.Progress(id, func(b *engine.Batch) { b.Done++ })
		return nil
	})
	if err != nil || !last.Over || !slices.Equal(seen, []int64{0, 1, 2}) {
		t.Errorf("saw %v, %+v, %v", seen, last, err)
	}
	if _, err := c.FollowBatch(t.Context(), uuid.New(), nil); !client.IsNotFound(err) {
		t.Errorf("of an unknown batch: %v", err)
	}
}

func TestRerun(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	e.Work = func(engine.RunRequest) *engine.Outcome { return nil }
	d := Start(t, e, nil)
	c := clientOf(t, d)
	ctx := context.Background()
	var ids []uuid.UUID
	for range 4 {
		ids = append(ids, start(t, e, d))
	}
	e.Finish(ids[0], engine.Outcome{State: engine.StateSuccess})
	e.Finish(ids[1], engine.Outcome{State: engine.StateFailure})
	e.Finish(ids[2], engine.Outcome{State: engine.StateFailure})
	n, err := c.CountRerun(ctx, url.Values{"success": {"false"}})
	if err != nil || n.Count != 2 || n.ByPath["f/demo/hello"] != 2 {
		t.Errorf("dry run: %+v, %v", n, err)
	}
	id, err := c.RerunJobs(ctx, url.Values{"success": {"false"}, "limit": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := c.GetBatch(ctx, id); err != nil || *b.Total != 1 {
		t.Errorf("rerun: %+v, %v", b, err)
	}
	unknown := uuid.New()
	lines, err := c.RerunEach(ctx, wire.RerunJobs{JobIDs: []uuid.UUID{ids[0], unknown},
		Scripts: map[string]wire.RerunOptions{"f/demo/hello": {Inputs: map[string]wire.InputTransform{"n": {Type: "static", Value: []byte("5")}}}}})
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[1], "Error: "+unknown.String()) {
		t.Fatalf("%v, %v", lines, err)
	}
	again, err := uuid.Parse(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	if j, err := c.Job(ctx, again, false); err != nil || string(j.Args) != `{"n":5}` {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := c.RerunEach(ctx, wire.RerunJobs{JobIDs: ids, Scripts: map[string]wire.RerunOptions{"f/demo/hello": {Inputs: map[string]wire.InputTransform{"n": {Type: "javascript"}}}}}); err == nil {
		t.Error("a transform in JavaScript was taken")
	}
	canceled, err := c.CancelSelection(ctx, []uuid.UUID{ids[0], ids[3], unknown})
	if err != nil || !slices.Equal(canceled, []uuid.UUID{ids[3]}) {
		t.Errorf("canceled %v, %v", canceled, err)
	}
	play(t, d, []scenario{
		{name: "nothing can match", method: "POST", path: w + "jobs/rerun?running=true", status: 400},
		{name: "no limit", method: "POST", path: w + "jobs/rerun?limit=0", status: 400},
		{name: "filter is checked", method: "POST", path: w + "jobs/rerun?created_after=monday", status: 400},
		{name: "a batch's jobs", path: w + "jobs/list?batch=nonsense", status: 400},
	})
}
