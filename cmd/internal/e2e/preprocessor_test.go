package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// preprocessors: a script gets the request through its preprocessor when it is asked for over HTTP, and arguments otherwise.
func preprocessors(t *testing.T, d *daemon) {
	ctx := t.Context()
	cli, err := client.New(client.Config{Socket: filepath.Join(d.data, "run", "millrace.sock"), Name: "cli"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cli.Close)
	for language, source := range map[string]string{
		"python3": "def preprocessor(event):\n    if event['body'].get('bad'): return [1]\n    return {'n': event['body']['n'] * 2, 'how': event['method'] + event['path'][-2:]}\ndef main(n: int, how: str = 'args'):\n    return [n, how]",
		"go": "package inner\n\nfunc preprocessor(event struct {\n\tBody struct {\n\t\tN   int\n\t\tBad int\n\t}\n\tMethod, Path string\n}) any {\n" +
			"\tif event.Body.Bad != 0 {\n\t\treturn []int{1}\n\t}\n" +
			"\treturn map[string]any{\"n\": event.Body.N * 2, \"how\": event.Method + event.Path[len(event.Path)-2:]}\n}\n\n" +
			"func main(n int, how *string) []any {\n\tif how == nil {\n\t\treturn []any{n, \"args\"}\n\t}\n\treturn []any{n, *how}\n}\n",
		"bun": "export function preprocessor(event: any) { return event.body.bad ? [1] : { n: event.body.n * 2, how: event.method + event.path.slice(-2) }; }\nexport function main(n: number, how: string = 'args') { return [n, how]; }",
	} {
		path := "f/test/pre_" + language
		if _, err := push.Script(ctx, d.Client, client.NewScript{Path: path, Language: language, Content: source}, t.Output()); err != nil {
			t.Fatal(err)
		}
		if s, err := d.Script(ctx, path); err != nil || !strings.Contains(string(s.Schema), `"how"`) || strings.Contains(string(s.Schema), "event") {
			t.Errorf("%s: the schema is not main's: %s, %v", language, s.Schema, err)
		}
		for query, c := range map[string]struct{ args, want string }{
			"":                        {`{"n": 21}`, `[42,"POST` + path[len(path)-2:] + `"]`},
			"?skip_preprocessor=true": {`{"n": 21}`, `[21,"args"]`},
			"?queue_limit=1000":       {`{"bad": 1}`, `PreprocessorError`},
		} {
			if got := d.post(t, "/api/w/main/jobs/run_wait_result/p/"+path+query, c.args); !strings.Contains(got, c.want) {
				t.Errorf("%s %s: %s, want %s", language, query, got, c.want)
			}
		}
		d.preprocessed(t, "p/"+path, `{"n":42,"how":"POST`+path[len(path)-2:]+`"}`, `[42,"POST`+path[len(path)-2:]+`"]`)
		if got := d.post(t, "/api/w/main/jobs/run_wait_result/p/"+path, `{"n": "x"}`); !strings.Contains(got, "error") {
			t.Errorf("%s: what the preprocessor returned is not checked: %s", language, got)
		}
		if got, err := cli.RunWait(ctx, client.Run{Path: path, Args: json.RawMessage(`{"n": 3}`)}); err != nil || string(got) != `[3,"args"]` {
			t.Errorf("%s on the command line: %s, %v", language, got, err)
		}
		event := json.RawMessage(`{"body": {"n": 5}, "method": "M", "path": "12"}`)
		got, err := d.RunWait(ctx, client.Run{Preview: &wire.Preview{Language: language, Content: source, Event: event}})
		if err != nil || string(got) != `[10,"M12"]` {
			t.Errorf("%s as a preview: %s, %v", language, got, err)
		}
		if _, err := d.RunWait(ctx, client.Run{Preview: &wire.Preview{Language: language, Content: strings.ReplaceAll(source, "preprocessor", "other"), Event: event}}); err == nil ||
			!strings.Contains(err.Error(), "no function preprocessor") {
			t.Errorf("%s without a preprocessor: %v", language, err)
		}
	}
	const flow = `{"preprocessor_module": {"id": "preprocessor", "value": {"type": "rawscript", "language": "python3", "content": "def main(event): return {'n': event['body'] + 1}", "input_transforms": {}}},
		"modules": [{"id": "a", "value": {"type": "rawscript", "language": "bash", "content": "n=\"$1\"\necho \"$n\"", "input_transforms": {"n": {"type": "javascript", "expr": "flow_input.n"}}}}]}`
	named := strings.Replace(flow, "def main(event): return", "def main(event): return {'n': 0}\\ndef preprocessor(event): return", 1) // as Windmill's are
	for want, p := range map[string]client.FlowPreview{`"8"`: {Event: json.RawMessage(`{"body": 7}`)}, `"9"`: {Event: json.RawMessage(`{"body": 8}`), Value: json.RawMessage(named)}, `"1"`: {Args: json.RawMessage(`{"n": 1}`)}} {
		if p.Value == nil {
			p.Value = json.RawMessage(flow)
		}
		if got, err := d.RunWait(ctx, client.Run{Flow: &p}); err != nil || string(got) != want && `"`+string(got)+`"` != want {
			t.Errorf("a preview of a flow: %s, %v, want %s", got, err, want)
		}
	}
	const deployed = `{"path": "f/test/pre_flow", "summary": "", "value": {"preprocessor_module": {"id": "preprocessor", "value": {"type": "rawscript", "language": "python3", "content": "def preprocessor(event): return {'n': event['body']['n'] + 1}", "input_transforms": {}}},
		"modules": [{"id": "a", "value": {"type": "rawscript", "language": "python3", "content": "def main(n): return n", "input_transforms": {"n": {"type": "javascript", "expr": "flow_input.n"}}}},
			{"id": "b", "value": {"type": "rawscript", "language": "python3", "content": "def main(n, a): return [n, a]", "input_transforms": {"n": {"type": "javascript", "expr": "flow_input.n"}, "a": {"type": "javascript", "expr": "results.a"}}}}]}}`
	if _, err := push.Flow(ctx, d.Client, "f/test/pre_flow", json.RawMessage(deployed), t.Output()); err != nil {
		t.Fatal(err)
	}
	d.preprocessed(t, "f/f/test/pre_flow", `{"n":22}`, "[22,22]")
	if _, err := d.RunWait(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(`{"modules": []}`), Event: json.RawMessage(`{}`)}}); err == nil || !strings.Contains(err.Error(), "no preprocessor_module") {
		t.Errorf("a flow without a preprocessor: %v", err)
	}
}

// preprocessed asks for what has a preprocessor; its job has the arguments that this made, and so has a rerun, which does not call it again.
func (d *daemon) preprocessed(t *testing.T, what, args, want string) {
	t.Helper()
	id, err := uuid.Parse(d.post(t, "/api/w/main/jobs/run/"+what, `{"n": 21}`))
	if err != nil {
		t.Fatal(err)
	}
	look := func(id uuid.UUID, preprocessed bool) {
		t.Helper()
		if _, err := d.Follow(t.Context(), id, func(wire.Update) error { return nil }); err != nil {
			t.Fatal(err)
		}
		j, err := d.Job(t.Context(), id, false)
		if err != nil {
			t.Fatal(err)
		}
		var got, wanted any
		if err := errors.Join(json.Unmarshal(j.Args, &got), json.Unmarshal([]byte(args), &wanted)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, wanted) || j.Preprocessed != preprocessed || j.Result == nil || string(*j.Result) != want {
			t.Errorf("%s: args %s, preprocessed %v, result %s", what, j.Args, j.Preprocessed, *j.Result)
		}
	}
	look(id, true)
	again, err := d.RerunEach(t.Context(), wire.RerunJobs{JobIDs: []uuid.UUID{id}})
	if err != nil || len(again) != 1 {
		t.Fatalf("%v, %v", again, err)
	}
	if id, err = uuid.Parse(again[0]); err != nil {
		t.Fatal(err)
	}
	look(id, false)
}

// post asks over TCP, as a webhook does, and returns the answer.
func (d *daemon) post(t *testing.T, path, body string) string {
	t.Helper()
	token, err := d.CreateToken(t.Context(), wire.NewToken{Label: "webhook"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// TestKilledAfterPreprocessor kills the daemon when main, or a flow's first step, has begun: the preprocessor is not run again, and what
// it made of the request is what goes on.
func TestKilledAfterPreprocessor(t *testing.T) {
	const (
		pre  = "def preprocessor(event):\n    import uuid\n    return {'n': event['body'] + uuid.uuid4().hex}\n"
		work = "def main(n: str):\n    import time\n    print('begun', n, flush=True)\n    time.sleep(2)\n    return n\n"
	)
	event := json.RawMessage(`{"body": "x"}`)
	flow := map[string]any{
		"preprocessor_module": map[string]any{"id": "preprocessor", "value": map[string]any{"type": "rawscript", "language": "python3", "content": pre,
			"input_transforms": map[string]any{}}},
		"modules": []any{map[string]any{"id": "a", "value": map[string]any{"type": "rawscript", "language": "python3", "content": work,
			"input_transforms": map[string]any{"n": map[string]any{"type": "javascript", "expr": "flow_input.n"}}}}},
	}
	value, err := json.Marshal(flow)
	if err != nil {
		t.Fatal(err)
	}
	data := folder(t)
	d := start(t, data)
	ctx := t.Context()
	made := map[uuid.UUID]string{} // what the preprocessor of each job made
	for _, run := range []client.Run{
		{Preview: &wire.Preview{Language: "python3", Content: pre + work, Path: "u/test/pre", Event: event}},
		{Flow: &client.FlowPreview{Value: value, Event: event}},
	} {
		id, err := d.Run(ctx, run)
		if err != nil {
			t.Fatal(err)
		}
		code := id
		if run.Flow != nil {
			code = d.firstStep(t, id)
		}
		watching, cancel := context.WithCancel(ctx)
		_, _ = d.Follow(watching, code, func(u wire.Update) error {
			if _, after, ok := strings.Cut(u.NewLogs, "begun "); ok {
				made[id] = strings.Fields(after)[0]
				cancel()
			}
			return nil
		})
		cancel()
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	again := start(t, data)
	for id, n := range made {
		if j := again.wait(ctx, id); result(j) != `"`+n+`"` || !strings.HasPrefix(n, "x") {
			t.Errorf("the preprocessor made %q, and the run after the kill ended as %s %s", n, j.Status, result(j))
		}
	}
	if len(made) != 2 {
		t.Errorf("%d jobs had begun", len(made))
	}
}

// firstStep is the job of a flow's first step, once it is there.
func (d *daemon) firstStep(t *testing.T, flow uuid.UUID) (step uuid.UUID) {
	t.Helper()
	watching, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, _ = d.Follow(watching, flow, func(u wire.Update) error {
		if s := statusOf(u); len(s.Modules) > 0 && s.Modules[0].Job != nil {
			step = *s.Modules[0].Job
			cancel()
		}
		return nil
	})
	return step
}
