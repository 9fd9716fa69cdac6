package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cmd/internal/clitest"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/web/client"
)

var update = flag.Bool("update", false, "write what the commands print into testdata")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// tongue is a language that is only asked for its name and its tools.
type tongue struct {
	runtimes.Runtime
	info runtimes.Info
}

func (l tongue) Info() runtimes.Info { return l.info }

func (l tongue) Detect(context.Context, string) (runtimes.Host, error) {
	return runtimes.Host{Version: "3.11", Tool: "/usr/bin/python3"}, nil
}

// Parse knows one mistake.
func (l tongue) Parse(source string) (runtimes.Signature, error) {
	if strings.Contains(source, "mistake") {
		return runtimes.Signature{}, &runtimes.SourceError{Name: "SyntaxError", Message: "a mistake", Line: 1}
	}
	return runtimes.Signature{}, nil
}

func testConfig() Config {
	r := runtimes.NewRegistry()
	r.Register(tongue{info: runtimes.Info{Name: "python3", Title: "Python", Extensions: []string{".py"}}})
	r.Register(tongue{info: runtimes.Info{Name: "bash", Title: "Bash", Extensions: []string{".sh"}}})
	return Config{Registry: r}
}

// runs decides what scripts do in the golden files.
func runs(what string, args json.RawMessage) clitest.Outcome {
	switch {
	case strings.Contains(what, "fail"):
		return clitest.Outcome{Logs: "about to fail\n", Failed: true,
			Result: `{"error": {"name": "ValueError", "message": "no such mill", "stack": "main.py, line 3, in main"}}`}
	case strings.Contains(what, "ask"), strings.Contains(what, "up to a"):
		return clitest.Outcome{Forever: true}
	case strings.Contains(what, "silent"):
		return clitest.Outcome{Failed: true, Result: "null"}
	}
	return clitest.Outcome{Logs: "hello\n", Result: `{"got": ` + string(args) + `}`}
}

// TestGolden runs the commands of testdata/*.txt, each file against a daemon of its own, and compares what they print.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			file, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s\n(go test ./cmd/internal/cli -update accepts it)", got, want)
			}
		})
	}
}

// nightlyYAML is a schedule as Windmill's command line writes it.
const nightlyYAML = `summary: ''
schedule: 0 0 3 * * *
script_path: f/ops/clean
is_flow: false
args:
  since: 2026-01-01
  on: yes
  list: [1, 2.5, null]
timezone: Etc/UTC
enabled: true
no_flow_overlap: true
labels: &l
  - night
other: *l
`

// reportYAML is a flow as wmill sync writes it, oddYAML one with something of each kind that can be wrong.
const (
	reportYAML = `summary: Report
value:
  modules:
    - id: a
      value:
        type: rawscript
        language: python3
        content: '!inline a.py'
        input_transforms: {}
      x-own: kept
    - id: b
      value: {type: flow, path: f/demo/other, input_transforms: {}}
schema: {type: object, properties: {}}
tag: big
`
	oddYAML = `summary: Odd
value:
  modules:
    - id: a
      value:
        type: rawscript
        language: cobol
        content: x
        input_transforms:
          n: {type: javascript, expr: results.nobody}
    - id: b
      value: {type: script, path: f/demo/gone, input_transforms: {}}
      stop_after_if: {expr: "result >"}
    - id: c
      value: {type: rawscript, language: bash, content: a mistake, input_transforms: {n: {type: static, value: 1}}}
    - id: d
      value: {type: aiagent, input_transforms: {}, tools: []}
`
)

// replay runs the lines that begin with "$ " and puts what they print below them. Lines that begin with "#" stay, with
// "#!" they set the scene: "#! tcp" talks over TCP, "#! env NAME=VALUE", "#! broken PATH" breaks its dependencies.
func replay(t *testing.T, text string) string {
	d := clitest.New(t)
	d.Run = runs
	dir := t.TempDir()
	t.Chdir(dir)
	for name, content := range map[string]string{"hello.py": "def main(): pass\n", "fail.py": "def main(): fail()\n",
		"notes.txt": "nothing\n", "nightly.schedule.yaml": nightlyYAML, "list.yaml": "- 1\n", "twice.yaml": "a: 1\na: 2\n",
		"changed.yaml": strings.Replace(nightlyYAML, "0 0 3", "0 0 4", 1), "elsewhere.json": `{"path": "f/ops/other", "schedule": "@daily"}`, "args.json": `{"from": "file"}` + "\n",
		"rows.ndjson": "{\"n\": 1}\n{\"fail\": true}\n{\"n\": 3}\n", "good.jsonl": "{}\n{}\n", "bad.ndjson": "{}\nbad\n", "people.csv": "name\nann\n",
		"f/demo/report__flow/flow.yaml": reportYAML, "f/demo/report__flow/a.py": "def main(): pass\n", "odd.yaml": oddYAML,
		"f/demo/other__flow/flow.yaml": "summary: Other\nvalue: {modules: []}\n", "f/demo/nofile__flow/flow.yaml": reportYAML,
		"self.json": `{"summary": "", "value": {"modules": [{"id": "a", "value": {"type": "flow", "path": "f/demo/self"}}]}}`} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"MILLRACE_SOCKET": d.Socket}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if scene, ok := strings.CutPrefix(line, "#! "); ok {
			verb, rest, _ := strings.Cut(scene, " ")
			switch verb {
			case "tcp":
				env = map[string]string{"MILLRACE_SERVER": d.URL}
				d.Token = "mr_right"
			case "env":
				name, value, _ := strings.Cut(rest, "=")
				env[name] = value
			case "broken":
				d.LockError[rest] = "no package called nosuchthing"
			default:
				t.Fatalf("unknown scene %q", line)
			}
		}
		if strings.HasPrefix(line, "#") {
			fmt.Fprintf(&out, "%s\n", line)
		}
		if command, ok := strings.CutPrefix(line, "$ millrace"); ok {
			stdout, stderr, status := do(t.Context(), words(command), `{"from": "standard input"}`, env)
			fmt.Fprintf(&out, "\n%s\n%s%s[exit %d]\n", line, marked("", stdout), marked("! ", stderr), status)
		}
	}
	clean := strings.NewReplacer(d.Socket, "SOCKET", d.URL, "URL", dir, "DIR")
	return clean.Replace(out.String())
}

// marked puts a mark before every line; standard error has one.
func marked(mark, text string) string {
	if text == "" {
		return ""
	}
	return mark + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+mark) + "\n"
}

// words splits a command line at spaces, except within single quotes.
func words(s string) []string {
	var out []string
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// do runs one command line.
func do(ctx context.Context, args []string, stdin string, env map[string]string) (stdout, stderr string, status int) {
	var o, e bytes.Buffer
	c := &call{cfg: testConfig(), stdin: strings.NewReader(stdin), stdout: &o, stderr: &e, env: func(name string) string { return env[name] },
		clock: func() time.Time { return clitest.Noon.Add(30 * time.Minute) }}
	status = c.main(ctx, args)
	return o.String(), e.String(), status
}

// TestInterrupt: Ctrl-C during a run cancels the job.
func TestInterrupt(t *testing.T) {
	d := clitest.New(t)
	d.Run = func(string, json.RawMessage) clitest.Outcome {
		return clitest.Outcome{Logs: "working\n", Forever: true}
	}
	d.Scripts["f/demo/long"] = client.NewScript{Path: "f/demo/long"}
	ctx, interrupt := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	c := &call{cfg: testConfig(), stdout: io.Discard, stderr: w, env: func(string) string { return "" }}
	go func() {
		status := c.main(ctx, []string{"run", "f/demo/long", "--socket", d.Socket})
		var err error
		if status != exitFailed {
			err = fmt.Errorf("status %d", status)
		}
		done <- errors.Join(err, w.Close())
	}()
	seen := make([]byte, len("working\n"))
	if _, err := io.ReadFull(r, seen); err != nil || string(seen) != "working\n" {
		t.Fatalf("log %q, %v", seen, err)
	}
	interrupt()
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), "interrupted; job 00000000-0000-7000-8000-000000000001 is canceled") {
		t.Errorf("said %q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	d.Lock()
	defer d.Unlock()
	if len(d.Canceled) != 1 {
		t.Errorf("canceled %v", d.Canceled)
	}
}

// TestJSONContract: with --json every command prints exactly one JSON value, whatever happens.
func TestJSONContract(t *testing.T) {
	d := clitest.New(t)
	d.Run = runs
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"a.py": "x", "f.yaml": "summary: x\nvalue: {modules: []}\n", "bad.yaml": oddYAML} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const job = "00000000-0000-7000-8000-000000000001"
	for _, line := range []string{
		"script push a.py f/a/b", "script list", "script get f/a/b", "script get f/no/no", "script history f/a/b", "run f/a/b", "run f/no/no",
		"run f/a/b --async", "run a.py", "run a.py -d nonsense", "job list", "job get " + job, "job get x", "job logs " + job, "job logs --follow " + job,
		"job why " + job, "job cancel " + job, "token create", "token list", "token delete mr_abc", "version", "version extra",
		"schedule create f/a/s --cron @daily --script f/a/b", "schedule create f/a/s", "schedule list", "schedule get f/a/s", "schedule get f/a/no",
		"schedule update f/a/s --tag gpu", "schedule push a.py f/a/s", "schedule pause f/a/s --until 2h", "schedule pause f/a/s", "schedule resume f/a/s",
		"schedule ticks f/a/s", "schedule preview @daily", "schedule preview wrong", "schedule run f/a/s", "schedule backfill f/a/s --from -3h",
		"schedule disable f/a/s", "schedule enable f/a/s", "schedule delete f/a/s", "calendar put f/a/c --day 2026-12-25", "calendar list",
		"calendar get f/a/c", "calendar delete f/a/c", "calendar delete f/a/c", "workers", "worker list",
		"batch run f/a/b a.csv", "batch run noop - --wait", "batch list", "batch get " + job, "batch get x", "batch results " + job, "batch wait " + job,
		"batch cancel " + job, "batch rerun " + job, "job rerun", "job rerun --dry-run",
		"flow push f.yaml f/a/f", "flow push f.yaml f/a/f", "flow push f.yaml", "flow validate f.yaml", "flow validate f.yaml --offline", "flow validate bad.yaml", "flow list",
		"flow run f/a/f", "flow run f/a/f --async", "flow run f/no/no", "flow run f.yaml", "flow preview . --step a", "flow preview f/no", "flow approve " + job,
		"flow approve x", "flow restart " + job + " --step a", "flow restart " + job, "flow cancel " + job, "flow cancel x",
		"flow show f/a/f", "flow show f/no/no", "flow history f/a/f", "run f/a/f", "flow archive f/a/f",
		"script archive f/a/b", "script list --limit 0", "script list --nosuchflag", "doctor --data . --database-url postgres://x",
	} {
		stdout, stderr, status := do(t.Context(), append(strings.Fields(line), "--json"), "", map[string]string{"MILLRACE_SOCKET": d.Socket})
		var value any
		dec := json.NewDecoder(strings.NewReader(stdout))
		if err := dec.Decode(&value); err != nil {
			t.Errorf("%s: no JSON: %v: %q (%q)", line, err, stdout, stderr)
		} else if dec.Decode(&value) != io.EOF {
			t.Errorf("%s: more than one value: %q", line, stdout)
		}
		if fields, ok := value.(map[string]any); ok && status != 0 && fields["error"] == nil && fields["result"] == nil && fields["checks"] == nil {
			t.Errorf("%s: exit %d without a reason: %q", line, status, stdout)
		}
	}
}

func TestDoctor(t *testing.T) {
	stdout, stderr, status := do(t.Context(), []string{"doctor", "--data", t.TempDir(), "--database-url", "postgres://x"}, "", nil)
	if status != exitFailed { // no helpers were named
		t.Errorf("status %d, %s", status, stderr)
	}
	for _, want := range []string{"kernel     ok       version", "python3          Python 3.11 (/usr/bin/python3)", "missing  helpers", "-> make build",
		"fdatasync", "isolation of jobs: ", "1 missing: the daemon can not work here"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}

func TestFindsTheDaemon(t *testing.T) {
	d := clitest.New(t)
	home := t.TempDir()
	t.Chdir(t.TempDir())
	for name, place := range map[string]struct {
		dir string
		env map[string]string
	}{
		"checkout": {".data", nil},
		"home":     {filepath.Join(home, ".local", "share", "millrace"), map[string]string{"HOME": home}},
		"data":     {"elsewhere", map[string]string{"MILLRACE_DATA": "elsewhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(filepath.Join(place.dir, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(d.Socket, socketIn(place.dir)); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(place.dir)
			if stdout, stderr, status := do(t.Context(), []string{"token", "list"}, "", place.env); status != 0 || !strings.Contains(stdout, "mr_abc") {
				t.Errorf("status %d: %s%s", status, stdout, stderr)
			}
		})
	}
}
