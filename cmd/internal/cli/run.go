package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/web/client"
)

var runCommand = command{
	name: "run", usage: "PATH|HASH|FILE [-d JSON]", short: "run a script or a flow, show its log, print its result",
	long: `
PATH is a deployed script (u/ann/etl, f/demo/hello) or flow, HASH one version of a script. A FILE on this host is run without being
deployed, and so is the folder of a flow (f/demo/nightly__flow) with its flow.yaml and the scripts beside it. The log goes to standard error as it comes, the result as JSON to standard output; the exit status is 1 when the
job fails. Ctrl-C cancels the job.

  millrace run f/demo/hello -d '{"times": 3}'
  millrace run hello.py -d @arguments.json
  millrace run f/demo/nightly__flow
  some-program | millrace run f/demo/hello -d -`,
	new: newRun,
}

type runFlags struct {
	data, language, tag, key, network, event string
	timeout                                  time.Duration
	priority                                 int
	async                                    bool
}

// runs registers the flags of commands that start a job.
func (c *call) runs(f *runFlags) {
	c.flags.StringVar(&f.data, "d", "{}", "arguments as a JSON `object`; @FILE reads a file, - standard input")
	c.flags.BoolVar(&f.async, "async", false, "print the job's id and do not wait")
	c.flags.StringVar(&f.tag, "tag", "", "`tag` of the workers to use")
	c.flags.DurationVar(&f.timeout, "timeout", 0, "end the job after this `time`, in whole seconds")
	c.flags.IntVar(&f.priority, "priority", 0, "higher runs first")
	c.flags.StringVar(&f.event, "event", "", "of what is not deployed: a request for its preprocessor, as `JSON`; @FILE reads a file, - standard input")
	c.flags.StringVar(&f.key, "idempotency-key", "", "a second run with the same `key` is the first one")
}

func newRun(c *call) func(context.Context) error {
	var f runFlags
	c.connects()
	c.runs(&f)
	c.flags.StringVar(&f.language, "language", "", "`language` of FILE when its ending does not tell")
	c.flags.StringVar(&f.network, "network", "", "`none`, egress or host, for FILE")
	return func(ctx context.Context) error {
		if err := c.want("PATH"); err != nil {
			return err
		}
		r, err := c.runOf(c.args[0], f)
		if err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		id, err := cl.Run(ctx, r)
		if r.Path != "" && client.IsNotFound(err) { // it may be a flow
			asFlow := r
			asFlow.Path, asFlow.FlowPath = "", r.Path
			flowID, fErr := cl.Run(ctx, asFlow)
			if !client.IsNotFound(fErr) || strings.Contains(fErr.Error(), "did you mean") && !strings.Contains(err.Error(), "did you mean") {
				id, err = flowID, fErr
			}
		}
		if err != nil {
			return c.explain(err)
		}
		if f.async {
			return c.printID(id)
		}
		return c.await(ctx, cl, id)
	}
}

// runOf makes the request from the target and the flags.
func (c *call) runOf(target string, f runFlags) (client.Run, error) {
	args, err := c.arguments(f.data)
	if err != nil {
		return client.Run{}, err
	}
	if f.priority != int(int16(f.priority)) {
		return client.Run{}, wrongUsage("--priority %d is out of range", f.priority)
	}
	r := client.Run{Args: args, Tag: f.tag, Priority: int16(f.priority), Timeout: f.timeout, IdempotencyKey: f.key}
	st, err := os.Stat(target)
	isFile := err == nil && st.Mode().IsRegular()
	switch {
	case err == nil && st.IsDir():
		if r.Flow, err = c.flowIn(target, f); err == nil && f.event != "" {
			r.Flow.Event, err = c.event(f)
		}
		return r, err
	case isFile:
		if r.Preview, err = c.preview(target, f); err == nil && f.event != "" {
			r.Preview.Event, err = c.event(f)
		}
		return r, err
	case strings.HasPrefix(target, "u/"), strings.HasPrefix(target, "f/"):
		r.Path = target
	case len(target) == 16 && strings.Trim(target, "0123456789abcdef") == "":
		r.Hash = target
	default:
		return r, wrongUsage("%q is neither the path of a script (u/... or f/...), nor a version's hash, nor a file here", target)
	}
	if f.language != "" || f.network != "" {
		return r, wrongUsage("--language and --network are for files; a deployed script has its own")
	}
	if f.event != "" {
		return r, wrongUsage("--event is for what is not deployed; the preprocessor of what is runs when it is asked for over HTTP")
	}
	return r, nil
}

// event is what --event gives.
func (c *call) event(f runFlags) (json.RawMessage, error) {
	e, err := c.input(f.event)
	if err == nil && !json.Valid(e) {
		err = wrongUsage("--event %.60s is not JSON", f.event)
	}
	return e, err
}

// flowIn reads the flow in a folder.
func (c *call) flowIn(folder string, f runFlags) (*client.FlowPreview, error) {
	if f.language != "" || f.network != "" {
		return nil, wrongUsage("--language and --network are for files; the steps of a flow have their own")
	}
	flow, err := format.ReadFolder(os.DirFS(folder))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	value, err := json.Marshal(&flow.Value)
	if err != nil {
		return nil, err
	}
	path, _ := format.FolderPath(filepath.ToSlash(filepath.Clean(folder)))
	if !strings.HasPrefix(path, "f/") && !strings.HasPrefix(path, "u/") {
		path = ""
	}
	return &client.FlowPreview{Value: value, Path: path}, nil
}

func (c *call) preview(file string, f runFlags) (*client.Preview, error) {
	language, err := c.languageOf(file, f.language)
	if err != nil {
		return nil, err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return &client.Preview{Content: string(source), Language: language, Network: f.network}, nil
}

// arguments reads -d.
func (c *call) arguments(data string) (json.RawMessage, error) {
	raw, err := c.input(data)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return nil, wrongUsage("-d %.60s is no JSON object; write -d '{\"name\": \"value\"}' with single quotes around it", data)
	}
	return raw, nil
}

// input is what is given, or what the file or standard input that it names holds.
func (c *call) input(data string) (json.RawMessage, error) {
	raw := []byte(data)
	var err error
	switch {
	case data == "-":
		raw, err = io.ReadAll(c.stdin)
	case strings.HasPrefix(data, "@"):
		raw, err = os.ReadFile(data[1:])
	}
	if err != nil {
		return nil, fmt.Errorf("read the arguments: %w", err)
	}
	return bytes.TrimSpace(raw), nil
}

// languageOf finds the language of a source file: as told, else by the file's ending.
func (c *call) languageOf(file, told string) (string, error) {
	var known []string
	for _, e := range c.cfg.Registry.All() {
		info := e.Info()
		if told == info.Name {
			return told, nil
		}
		for _, ext := range info.Extensions {
			if told == "" && filepath.Ext(file) == ext {
				return info.Name, nil
			}
		}
		known = append(known, info.Name)
	}
	if told != "" {
		return "", wrongUsage("--language %s: there are %s", told, strings.Join(known, ", "))
	}
	return "", wrongUsage("the ending of %s does not tell its language; give --language: %s", file, strings.Join(known, ", "))
}

func (c *call) printID(id uuid.UUID) error {
	if c.json {
		return c.printJSON(map[string]string{"id": id.String()})
	}
	fmt.Fprintln(c.stdout, id)
	return nil
}

// cancelPatience is how long the daemon may take to hear of a Ctrl-C.
const cancelPatience = 5 * time.Second

// await shows the log until the job ends and prints its result. When ctx ends first the job is cancelled.
func (c *call) await(ctx context.Context, cl *client.Client, id uuid.UUID) error {
	job, err := push.Follow(ctx, cl, id, c.stderr)
	return c.over(ctx, cl, id, job, err)
}

// over prints what a job that was waited for ended with, and cancels it when the wait was ended first.
func (c *call) over(ctx context.Context, cl *client.Client, id uuid.UUID, job *client.Job, err error) error {
	if ctx.Err() != nil {
		late, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
		defer stop()
		if err := cl.Cancel(late, id, "interrupted on the command line"); err != nil {
			return fmt.Errorf("interrupted, but job %s goes on: %w", id, c.explain(err))
		}
		return fmt.Errorf("interrupted; job %s is canceled", id)
	}
	if err != nil {
		return c.explain(err)
	}
	return c.printEnd(job)
}

// printEnd prints a completed job and fails when the job did.
func (c *call) printEnd(job *client.Job) error {
	succeeded := job.Success != nil && *job.Success
	if c.json {
		if err := c.printJSON(job); err != nil {
			return err
		}
		if !succeeded {
			return errSaid
		}
		return nil
	}
	if !succeeded {
		return errors.New(strings.TrimSpace(push.Failure(job).Error()))
	}
	if job.Result == nil {
		return c.printResult([]byte("null"))
	}
	return c.printResult(*job.Result)
}
