package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

var batchRun = command{
	name: "batch run", usage: "PATH|HASH|noop FILE|- [--wait]", short: "run a script for each row of a file",
	long: `
Rows are JSON objects of arguments, one a line (.ndjson, .jsonl), CSV whose first line names the arguments (.csv; cells are
typed by the script's schema, an empty one is absent), or one JSON array of objects (.json). They are stored as they are sent;
a row that is wrong stops everything and is named, and what was stored is canceled, unless --keep is given.

When the connection breaks, the rows of a file are sent again and go on where they were; no row runs twice. After Ctrl-C the
same command with the --idempotency-key it names does that. The id of the batch goes to standard output. With --wait the
exit status is 1 when a job failed; Ctrl-C then only stops watching.

  millrace batch run f/demo/hello people.csv --wait
  zcat rows.ndjson.gz | millrace batch run u/ann/etl -`,
	new: newBatchRun,
}

type batchFlags struct {
	run  client.BatchRun
	prio int
	wait bool
}

func newBatchRun(c *call) func(context.Context) error {
	var f batchFlags
	c.connects()
	c.flags.StringVar(&f.run.Format, "format", "", "`ndjson`, csv or json, when the file's ending does not tell")
	c.flags.StringVar(&f.run.Name, "name", "", "a `name` for people")
	c.flags.BoolVar(&f.wait, "wait", false, "watch until all jobs are done")
	c.flags.BoolVar(&f.run.Keep, "keep", false, "let rows run that were stored before a wrong one")
	c.flags.StringVar(&f.run.Tag, "tag", "", "`tag` of the workers to use")
	c.flags.IntVar(&f.prio, "priority", 0, "higher runs first")
	c.flags.DurationVar(&f.run.Timeout, "timeout", 0, "end each job after this `time`, in whole seconds")
	c.flags.StringVar(&f.run.IdempotencyKey, "idempotency-key", "", "go on with the batch that was begun with this `key`")
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		if err := f.target(c.args[0]); err != nil {
			return err
		}
		in, again, err := c.rows(c.args[1], &f.run)
		if err != nil {
			return err
		}
		defer in.Close()
		id, err := c.sendRows(ctx, cl, f.run, in, again)
		if err != nil {
			return err
		}
		return c.made(ctx, cl, id, f.wait)
	}, "PATH", "FILE")
}

// target reads what is to run.
func (f *batchFlags) target(what string) error {
	if f.prio != int(int16(f.prio)) {
		return wrongUsage("--priority %d is out of range", f.prio)
	}
	f.run.Priority = int16(f.prio)
	switch {
	case strings.HasPrefix(what, "u/"), strings.HasPrefix(what, "f/"):
		f.run.Path = what
	case len(what) == 16 && strings.Trim(what, "0123456789abcdef") == "":
		f.run.Hash = what
	case what == "noop":
	default:
		return wrongUsage("%q is neither the path of a script (u/... or f/...) nor a version's hash, nor noop", what)
	}
	return nil
}

// rows opens the file; again tells whether it can be read once more. A file gets a key, so that sending it again goes on.
func (c *call) rows(name string, run *client.BatchRun) (in io.ReadCloser, again bool, err error) {
	if run.Format == "" {
		run.Format = formatOf(name)
	}
	switch run.Format {
	case "ndjson", "csv", "json":
	case "":
		return nil, false, wrongUsage("the ending of %s does not tell its format; give --format: ndjson, csv or json", name)
	default:
		return nil, false, wrongUsage("--format %s: there are ndjson, csv and json", run.Format)
	}
	if name == "-" {
		return io.NopCloser(c.stdin), false, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	if st, err := file.Stat(); err == nil && st.Mode().IsRegular() {
		again = true
		if run.IdempotencyKey == "" {
			run.IdempotencyKey = uuid.NewString()
		}
	}
	return file, again, nil
}

func formatOf(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		return "ndjson"
	case ".csv":
		return "csv"
	case ".json":
		return "json"
	}
	if name == "-" {
		return "ndjson"
	}
	return ""
}

// How often, and how long after each other, a file is sent again while nothing gets through.
const (
	sendTries = 6
	sendRest  = time.Second
)

// sendRows sends the rows, again when the connection breaks and that is possible.
func (c *call) sendRows(ctx context.Context, cl *client.Client, run client.BatchRun, in io.Reader, again bool) (uuid.UUID, error) {
	for try := 1; ; try++ {
		id, err := c.sendOnce(ctx, cl, run, in)
		switch {
		case err == nil:
			return id, nil
		case ctx.Err() != nil && again:
			return uuid.Nil, fmt.Errorf("interrupted; the rows that were stored run. Go on with: millrace batch run %s %s --idempotency-key %s",
				c.args[0], c.args[1], run.IdempotencyKey)
		case ctx.Err() != nil:
			return uuid.Nil, errors.New("interrupted; the rows that were stored are canceled")
		case !again || !passing(err) || try == sendTries:
			return uuid.Nil, c.explain(err)
		}
		fmt.Fprintf(c.stderr, "%s; trying again\n", strings.TrimSpace(err.Error()))
		if s, ok := in.(io.Seeker); ok {
			if _, err := s.Seek(0, io.SeekStart); err != nil {
				return uuid.Nil, err
			}
		}
		t := time.NewTimer(time.Duration(try) * sendRest)
		select {
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
		}
	}
}

// passing tells whether sending again may help: the daemon was not reached, could not store, or still misses the first sender.
func passing(err error) bool {
	var e *client.Error
	if !errors.As(err, &e) {
		return true
	}
	return e.Status == http.StatusServiceUnavailable || (e.Status == http.StatusConflict && strings.Contains(e.Body, "another request sends"))
}

func (c *call) sendOnce(ctx context.Context, cl *client.Client, run client.BatchRun, in io.Reader) (uuid.UUID, error) {
	rows := &counter{r: in}
	run.Rows = rows
	size := int64(0)
	if f, ok := in.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
	}
	p, began := newProgress(c.stderr), time.Now()
	over, drawn := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drawn)
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-over:
				p.clear()
				return
			case <-tick.C:
				p.show(func() string { return sendLine(rows, size, time.Since(began), p.tty) })
			}
		}
	}()
	id, err := cl.RunBatch(ctx, run)
	close(over)
	<-drawn
	return id, err
}

// sendLine is how far sending is.
func sendLine(rows *counter, size int64, took time.Duration, withBar bool) string {
	lines, bytes := rows.sent()
	out := ""
	if withBar {
		out = bar(bytes, size)
	}
	return out + fmt.Sprintf("%s lines sent, %.1f MB, %s/s", thousands(lines), float64(bytes)/1e6, rate(float64(lines)/max(took.Seconds(), 0.001)))
}

// watchBatch shows how far a batch is until it is over, and fails when its jobs did. When ctx ends first the batch goes on.
func (c *call) watchBatch(ctx context.Context, cl *client.Client, id uuid.UUID) error {
	p := newProgress(c.stderr)
	last, err := cl.FollowBatch(ctx, id, func(b *client.Batch) error {
		p.show(func() string { return batchLine(b, p.tty) })
		return nil
	})
	p.clear()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; batch %s goes on. Watch it with millrace batch wait %s, end it with millrace batch cancel %s", id, id, id)
	}
	if err != nil {
		return c.explain(err)
	}
	if c.json {
		if err := c.printJSON(last); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.stderr, "%s: %s\n", last.State, batchLine(last, false))
	}
	if last.State == "done" && last.Failed == 0 && last.Canceled == 0 {
		return nil
	}
	if c.json {
		return errSaid
	}
	if last.Failed > 0 {
		return fmt.Errorf("%s jobs failed; millrace batch results %s --status failure shows them, millrace batch rerun %s runs them again", thousands(last.Failed), id, id)
	}
	return fmt.Errorf("the batch is %s%s", last.State, because(last))
}

func because(b *client.Batch) string {
	switch {
	case b.Error != "":
		return ": " + b.Error
	case b.CanceledReason != "":
		return " by " + b.CanceledBy + ": " + b.CanceledReason
	case b.CanceledBy != "":
		return " by " + b.CanceledBy
	case b.Canceled > 0:
		return fmt.Sprintf(", but %s jobs were canceled", thousands(b.Canceled))
	}
	return ""
}
