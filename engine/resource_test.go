package engine

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLimitOptions(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", `{"memory_mb":32,"cpu":0.01,"pids":8,"work_mb":1,"open_files":64,"output_mb":1}`: "", `{"memory_mb":2048,"cpu":2.5}`: "",
		`{"memory_mb":31}`: "limits.memory_mb", `{"memory_mb":-1}`: "limits.memory_mb", `{"cpu":-0.5}`: "limits.cpu", `{"cpu":1e300}`: "limits.cpu",
		`{"pids":7}`: "limits.pids", `{"work_mb":-3}`: "limits.work_mb", `{"open_files":3}`: "limits.open_files", `{"output_mb":0.5}`: "limits", `{"memory":1}`: "limits", `{"pids":"many"}`: "limits",
		`{"memory_mb":99999999999999}`: "limits.memory_mb",
	} {
		o, err := ParseOptions(map[string]json.RawMessage{"limits": json.RawMessage(text)})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || CodeOf(err) != Invalid) {
			t.Errorf("%s: %+v %v, want an error about %q", text, o, err, want)
		}
	}
}

func TestWithin(t *testing.T) {
	most := LimitOptions{MemoryMB: 1024, Pids: 100}
	for _, fine := range []LimitOptions{{}, {MemoryMB: 1024, CPU: 64, Pids: 100, WorkMB: 1 << 20}} {
		if err := fine.Within(most); err != nil {
			t.Errorf("%+v: %v", fine, err)
		}
	}
	for name, much := range map[string]LimitOptions{"memory_mb": {MemoryMB: 1025}, "pids": {Pids: 101}} {
		err := much.Within(most)
		if err == nil || !strings.Contains(err.Error(), name) || CodeOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (LimitOptions{MemoryMB: 1 << 30, CPU: 100, Pids: 1 << 20, WorkMB: 1 << 30}).Within(LimitOptions{}); err != nil {
		t.Errorf("no bounds: %v", err)
	}
}
