package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// wmillFolder is a folder of a user of Windmill: what wmill pushes beside the flow of reportFolder.
var wmillFolder = map[string]string{
	"wmill.yaml": "defaultTs: bun\nnonDottedPaths: true\nincludes: ['f/wmill/**']\nskipFolders: true\n",
	"f/wmill/broken__flow/flow.yaml": `summary: Broken
value:
  modules:
    - {id: a, value: {type: identity}}
    - id: b
      value:
        type: rawscript
        language: bash
        content: '!inline b.sh'
        input_transforms:
          word: {type: javascript, expr: results.nope.word}
`,
	"f/wmill/broken__flow/b.sh": "echo \"$1\"\n",
	"f/wmill/hello.ts":          "export function main(name: string) {\n  console.log('greeting')\n  return 'hello ' + name\n}\n",
	"f/wmill/hello.script.yaml": `summary: Greets
description: ''
lock: ''
kind: script
schema:
  $schema: https://json-schema.org/draft/2020-12/schema
  type: object
  properties:
    name: {type: string, description: ''}
  required: [name]
`,
	"f/wmill/db.resource.yaml": "value: {host: db.example}\nresource_type: postgresql\ndescription: a database\n",
}

var terminalColor = regexp.MustCompile("\x1b\\[[0-9;]*m")

// windmillCLI is the first hour of a user of Windmill who brings the command line along: it is the released one, and all that it
// knows of Millrace is an address and a token.
func windmillCLI(t *testing.T, d *daemon) {
	bin := os.Getenv("MILLRACE_TEST_WMILL")
	if bin == "" {
		why := os.Getenv("MILLRACE_TEST_WMILL_MISSING")
		if why == "" {
			why = "MILLRACE_TEST_WMILL names none; packaging/setup.sh --wmill gets it and prints its path"
		}
		t.Skip("no command line of Windmill: " + why)
	}
	if _, err := exec.LookPath("node"); err != nil { // sudo may have another PATH than setup.sh had
		t.Skipf("no command line of Windmill: %v", err)
	}
	ctx, dir, home := t.Context(), t.TempDir(), t.TempDir()
	writeFiles(t, dir, reportFolder)
	writeFiles(t, dir, wmillFolder)
	token, err := d.CreateToken(ctx, wire.NewToken{Label: "wmill"})
	if err != nil {
		t.Fatal(err)
	}
	wmill := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatalf("wmill %s: %v", strings.Join(args, " "), err)
		}
		return terminalColor.ReplaceAllString(string(out), ""), cmd.ProcessState.ExitCode()
	}
	works := func(want string, args ...string) {
		t.Helper()
		if out, code := wmill(args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("wmill %s ended with %d, want 0 and %s\n%s", strings.Join(args, " "), code, want, out)
		}
	}
	fails := func(want string, args ...string) {
		t.Helper()
		if out, code := wmill(args...); code != 1 || !strings.Contains(out, want) {
			t.Errorf("wmill %s ended with %d, want 1 and %s\n%s", strings.Join(args, " "), code, want, out)
		}
	}
	fails("Unauthorized", "workspace", "add", "stranger", "main", d.url()+"/", "--token", "mr_wrong")
	works("Added workspace", "workspace", "add", "mill", "main", d.url()+"/", "--token", token)

	works("Flow pushed", "flow", "push", "f/e2e/report__flow", "f/wmill/report")
	works("is up to date", "flow", "push", "f/e2e/report__flow", "f/wmill/report")
	works("f/wmill/report", "flow", "list")
	works(`"4 squares"`, "flow", "run", "f/wmill/report", "-d", `{"n": 4}`)
	fails("n: got string, want integer", "flow", "run", "f/wmill/report", "-d", `{"n": "x"}`)
	fails(`module b value.input_transforms.word.expr: there is no step "nope"`, "flow", "push", "f/wmill/broken__flow", "f/wmill/broken")
	works(`"2 squares"`, "flow", "preview", "f/e2e/report__flow", "-d", `{"n": 2}`)

	works("f/wmill/hello.ts pushed", "script", "push", "f/wmill/hello.ts")
	works("f/wmill/hello", "script", "list")
	if out, code := wmill("script", "run", "f/wmill/hello", "-d", `{"name": "ann"}`); code != 0 || !strings.Contains(out, "greeting\n") || !strings.HasSuffix(out, "\"hello ann\"\n") {
		t.Errorf("a run of a script, with its log, ended with %d\n%s", code, out)
	}

	works("pushed", "resource", "push", "f/wmill/db.resource.yaml", "f/wmill/db")
	works("db.example", "resource", "get", "f/wmill/db")
	works("pushed", "variable", "add", "salt & pepper", "f/wmill/word", "--yes")
	works("salt & pepper", "variable", "get", "f/wmill/word")

	works("Done!", "sync", "pull", "--yes")
	for file, want := range map[string]string{"report__flow/squares.py": "for i in range(n)", "word.variable.yaml": "is_secret: true"} {
		if got, err := os.ReadFile(filepath.Join(dir, "f/wmill", file)); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s of what was pulled: %v\n%s", file, err, got)
		}
	}
	works("Added workspace", "workspace", "add", "new", "wmill-new", d.url()+"/", "--token", token, "--create")
	list, err := d.Workspaces(ctx)
	if err != nil || !slices.ContainsFunc(list, func(w engine.Workspace) bool { return w.ID == "wmill-new" }) {
		t.Errorf("the workspaces are %v, %v", list, err)
	}
}
