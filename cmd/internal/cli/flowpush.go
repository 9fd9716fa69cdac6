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

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/runtimes/signature"
	"github.com/millrace/millrace/web/client"
)

var flowPush = command{
	name: "flow push", usage: "FOLDER|FILE [PATH]", short: "deploy a flow",
	long: `
FOLDER holds flow.yaml and the scripts beside it, as wmill sync writes it; FILE is such a document, or JSON. PATH is needed when the
folder's name does not say it: f/demo/report__flow is f/demo/report. What is wrong is said with the line of the document, and nothing is
deployed. Deploying ends when the flow can run: what its scripts depend on is resolved by a job of the daemon whose log is shown.
A flow that has not changed makes no new version.

  millrace flow push f/demo/report__flow
  millrace flow push report.yaml f/demo/report`,
	new: newFlowPush,
}

func newFlowPush(c *call) func(context.Context) error {
	var message string
	c.connects()
	c.flags.StringVar(&message, "message", "", "`text` about this version")
	return func(ctx context.Context) error {
		d, err := c.flowDocument()
		if err != nil {
			return err
		}
		if d.path == "" {
			return wrongUsage("PATH is missing: %s does not say it", c.args[0])
		}
		body, err := d.body(message)
		if err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		findings, err := c.judge(ctx, d, cl)
		if err != nil {
			return c.explain(err)
		}
		if !c.json || check.Fatal(findings) {
			d.print(c.stderr, findings)
		}
		if check.Fatal(findings) {
			return fmt.Errorf("%s is not deployed: %s", d.path, countOf(findings))
		}
		done, err := push.Flow(ctx, cl, d.path, body, c.stderr)
		if err != nil {
			return c.explain(err)
		}
		switch {
		case c.json:
			return c.printJSON(done)
		case !done.Created:
			fmt.Fprintf(c.stdout, "%s has not changed; it is version %d\n", d.path, done.Version)
		default:
			fmt.Fprintf(c.stdout, "%s is deployed as version %d\n", d.path, done.Version)
		}
		return nil
	}
}

var flowValidate = command{
	name: "flow validate", usage: "FOLDER|FILE [PATH]", short: "check a flow without deploying it",
	long: `
Says what would keep the flow from being deployed (errors) and what may not be meant (warnings), each with the line of the document, the
module and the field. The scripts and flows that it names are looked for in the daemon, unless --offline. The exit status is 1 when there
are errors.`,
	new: func(c *call) func(context.Context) error {
		var offline bool
		c.connects()
		c.flags.BoolVar(&offline, "offline", false, "ask no daemon: scripts and flows that it names are taken to be there")
		return func(ctx context.Context) error {
			d, err := c.flowDocument()
			if err != nil {
				return err
			}
			var cl *client.Client
			if !offline {
				if cl, err = c.client(); err != nil {
					return err
				}
				defer cl.Close()
			}
			findings, err := c.judge(ctx, d, cl)
			if err != nil {
				return c.explain(err)
			}
			return c.printFindings(d, findings)
		}
	},
}

func (c *call) printFindings(d *document, findings []check.Finding) error {
	if c.json {
		out := map[string]any{"path": d.path, "findings": orEmpty(findings)}
		if check.Fatal(findings) {
			out["error"] = countOf(findings)
		}
		if err := c.printJSON(out); err != nil {
			return err
		}
	} else {
		d.print(c.stdout, findings)
	}
	switch {
	case check.Fatal(findings) && c.json:
		return errSaid
	case check.Fatal(findings):
		return errors.New(countOf(findings))
	case !c.json:
		fmt.Fprintf(c.stderr, "%s: %s\n", d.name, countOf(findings))
	}
	return nil
}

// document is a flow as it lies in files.
type document struct {
	name string // of the file that lines are of
	path string // where it is to be deployed; "" when nobody says
	flow *format.Flow
	// problems keep it from being read as a whole.
	problems format.Problems
}

// flowDocument reads the flow that the arguments name.
func (c *call) flowDocument() (*document, error) {
	names := []string{"FOLDER", "PATH"}
	if len(c.args) < 2 {
		names = names[:1]
	}
	if err := c.want(names...); err != nil {
		return nil, err
	}
	place := c.args[0]
	st, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	folder := place
	if base := filepath.Base(place); !st.IsDir() && strings.TrimSuffix(base, filepath.Ext(base)) == "flow" {
		folder = filepath.Dir(place) // the scripts lie beside it
	}
	d := &document{name: place}
	if st.IsDir() || folder != place {
		if st.IsDir() {
			d.name = filepath.Join(place, "flow.yaml")
		}
		d.flow, err = format.ReadFolder(os.DirFS(folder))
	} else {
		var src []byte
		if src, err = os.ReadFile(place); err == nil {
			d.flow, err = format.Parse(src)
		}
	}
	if err != nil && !errors.As(err, &d.problems) {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	if len(c.args) > 1 {
		d.path = c.args[1]
		return d, nil
	}
	path, ok := format.FolderPath(filepath.ToSlash(filepath.Clean(folder)))
	if ok && (strings.HasPrefix(path, "f/") || strings.HasPrefix(path, "u/")) {
		d.path = path
	}
	return d, nil
}

// body is what is sent to deploy it: the document, with whatever else it holds.
func (d *document) body(message string) (json.RawMessage, error) {
	if len(d.problems) > 0 {
		return nil, nil // it is not going to be sent
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(d.flow.JSON(), &fields); err != nil {
		return nil, fmt.Errorf("encode the flow: %w", err)
	}
	set := map[string]string{"path": d.path}
	if message != "" {
		set["deployment_message"] = message
	}
	for name, text := range set {
		b, err := json.Marshal(text)
		if err != nil {
			return nil, fmt.Errorf("encode the flow: %w", err)
		}
		fields[name] = b
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fields); err != nil {
		return nil, fmt.Errorf("encode the flow: %w", err)
	}
	return b.Bytes(), nil
}

// judge says what is wrong with a document. With a client it asks the daemon for what the flow names.
func (c *call) judge(ctx context.Context, d *document, cl *client.Client) ([]check.Finding, error) {
	if len(d.problems) > 0 {
		return check.Problems(d.problems), nil
	}
	d.flow.Value.FillIDs()
	look := check.Lookup{Path: d.path, Source: c.sourceOf}
	if cl != nil {
		look.Script = func(ctx context.Context, path, hash string) (*check.Target, error) {
			get, what := cl.Script, path
			if hash != "" {
				get, what = cl.ScriptByHash, hash
			}
			s, err := get(ctx, what)
			if client.IsNotFound(err) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			target := &check.Target{Inputs: s.Schema}
			if in, err := c.sourceOf(s.Language, s.Content); err == nil { // what it returns is only in the source
				target.Result = in.Result
			}
			return target, nil
		}
		look.Flow = func(ctx context.Context, path string) (*format.Flow, error) {
			raw, err := cl.Flow(ctx, path)
			if client.IsNotFound(err) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return format.Parse(raw)
		}
	}
	return check.Flow(ctx, d.flow, look)
}

// sourceOf is what a language says of a script in a flow.
func (c *call) sourceOf(language, content string) (*check.Target, error) {
	e, ok := c.cfg.Registry.Get(language)
	if !ok {
		return nil, fmt.Errorf("%q is not a language of this product", language)
	}
	sig, err := e.Parse(content)
	if err != nil {
		return nil, err
	}
	return &check.Target{Inputs: signature.Schema(sig), Result: signature.Result(sig)}, nil
}

// print writes findings as compilers do, so that editors find the line.
func (d *document) print(w io.Writer, findings []check.Finding) {
	for _, f := range findings {
		where := d.name
		if f.Line > 0 {
			where += fmt.Sprintf(":%d:%d", f.Line, f.Column)
		}
		f.Line = 0
		fmt.Fprintf(w, "%s: %s\n", where, f)
	}
}

// countOf counts findings for a person.
func countOf(findings []check.Finding) string {
	errs, warnings := 0, 0
	for _, f := range findings {
		if f.Severity == check.Error {
			errs++
		} else {
			warnings++
		}
	}
	count := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	switch {
	case errs == 0 && warnings == 0:
		return "nothing is wrong"
	case errs == 0:
		return count(warnings, "warning")
	case warnings == 0:
		return count(errs, "error")
	}
	return count(errs, "error") + ", " + count(warnings, "warning")
}
