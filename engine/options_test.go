package engine

import (
	"encoding/json"
	"testing"
)

func TestDedicatedProcesses(t *testing.T) {
	for text, want := range map[string]int{`4`: 4, `64`: 64, `null`: 0, `65`: -1, `-1`: -1, `"two"`: -1, `1.5`: -1} {
		o, err := ParseOptions(map[string]json.RawMessage{"dedicated_processes": json.RawMessage(text)})
		if want < 0 && CodeOf(err) != Invalid || want >= 0 && (err != nil || o.Processes != want) {
			t.Errorf("%s: got %d, %v", text, o.Processes, err)
		}
	}
}
