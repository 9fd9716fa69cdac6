package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// workedExample runs the example of the manual's page on flows: the files that it shows, with the commands that it shows.
func workedExample(t *testing.T, d *daemon) {
	page, err := os.ReadFile("../../../web/docs/flows.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "## A worked example\n")
	text, _, end := strings.Cut(text, "\n## ")
	if !found || !end {
		t.Fatal("there is no worked example")
	}
	dir := t.TempDir()
	for _, m := range regexp.MustCompile("(?s)\n`(f/demo/[^`]+)`:\n\n```[a-z]*\n(.*?)\n```\n").FindAllStringSubmatch(text, -1) {
		name := filepath.Join(dir, m[1])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(m[2]+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	source, err := os.ReadFile(filepath.Join(dir, "f/demo/order__flow/flow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"rawscript", "script", "forloopflow", "whileloopflow", "flow", "branchone", "branchall", "identity"} {
		if !strings.Contains(string(source), "type: "+kind+"\n") && !strings.Contains(string(source), "type: "+kind+"}") {
			t.Errorf("the example has no module of the kind %s", kind)
		}
	}
	_, after, found := strings.Cut(text, "Both answer `")
	want, _, end := strings.Cut(after, "`")
	if !found || !end {
		t.Fatal("the example does not say what it answers")
	}
	commands, answers := regexp.MustCompile(`(?m)^millrace (.*)$`).FindAllStringSubmatch(text, -1), 0
	for _, m := range commands {
		line, _, _ := strings.Cut(m[1], "  #")
		// Bash reads the line as a reader's shell does.
		cmd := exec.CommandContext(t.Context(), "bash", "-c", `"$MILLRACE" `+line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "MILLRACE="+binary(t), "MILLRACE_SOCKET="+filepath.Join(d.data, "run", "millrace.sock"))
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("millrace %s: %v\n%s%s", line, err, out, said.String())
		}
		if strings.Contains(line, "run ") {
			answers++
			if !sameJSON(string(out), want) {
				t.Errorf("millrace %s answers %s, want %s", line, out, want)
			}
		}
	}
	if answers != 2 {
		t.Errorf("%d of %d commands answer", answers, len(commands))
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
