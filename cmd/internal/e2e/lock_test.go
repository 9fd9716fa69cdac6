package e2e

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

// locks: who keeps locks in files asks what a source, or the scripts in a flow, depend on; nothing is deployed.
func locks(t *testing.T, d *daemon) {
	const jobs = "/api/w/main/jobs/run/"
	wait := func(path, body string) (string, bool) {
		id, err := uuid.Parse(d.post(t, jobs+path, body))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		j := d.wait(t.Context(), id)
		return result(j), j.Status == "success"
	}
	if got, ok := wait("dependencies_async", `{"raw_scripts": [{"raw_code": "def main(): pass", "language": "python3", "script_path": "f/test/none"}], "entrypoint": "f/test/none"}`); !ok || !strings.Contains(got, `"lock":`) {
		t.Errorf("the lock of a source: %s", got)
	}
	got, ok := wait("flow_dependencies_async", `{"path": "f/test/none", "flow_value": {"modules": [{"id": "a", "value": {"type": "rawscript", "language": "python3", "content": "def main(): pass", "input_transforms": {}}, "x-own": 1}]}}`)
	if !ok || !strings.Contains(got, `"updated_flow_value":`) || !strings.Contains(got, `"x-own":1`) || !strings.Contains(got, `"content":"def main(): pass"`) {
		t.Errorf("the locks of a flow: %s", got)
	}
	if got, ok := wait("dependencies_async", `{"raw_scripts": [{"raw_code": "import nothing_of_this_name_is_there\ndef main(): pass", "language": "python3"}]}`); ok || !strings.Contains(got, `"message"`) {
		t.Errorf("the lock of what cannot be resolved: %s", got)
	}
	for body, want := range map[string]string{
		`{"raw_scripts": []}`: "one script",
		`{"raw_scripts": [{"raw_code": "x", "language": "cobol"}]}`: "cobol",
	} {
		if got := d.post(t, jobs+"dependencies_async", body); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if got := d.post(t, jobs+"flow_dependencies_async", `{"flow_value": {"modules": 7}}`); !strings.Contains(got, "modules") {
		t.Errorf("a flow that is none: %s", got)
	}
	if _, err := d.Script(t.Context(), "f/test/none"); err == nil {
		t.Error("a script was deployed")
	}
}
