package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/web/wire"
)

// TestMoments: a zone can push a time over the edge of the years that RFC 3339 can write.
func TestMoments(t *testing.T) {
	for text, want := range map[string]bool{
		"0001-01-01T00:00:00Z": true, "0001-01-01T00:00:00+01:00": false, "0000-01-01T00:00:00Z": false,
		"9999-12-31T23:59:59Z": true, "9999-12-31T23:59:59-01:00": false, "2031-05-06T07:08:09.1+02:00": true,
	} {
		var pause wire.SetPause
		var ticks wire.Backfill
		if err := json.Unmarshal([]byte(`{"until":"`+text+`"}`), &pause); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(`{"from":"`+text+`"}`), &ticks); err != nil {
			t.Fatal(err)
		}
		for name, body := range map[string]any{"until": &pause, "from": &ticks} {
			err := moments(body)
			if want != (err == nil) || err != nil && !strings.Contains(err.Error(), name+" must be") {
				t.Errorf("%s in %s: %v", text, name, err)
			}
			if _, bad := json.Marshal(body); want && bad != nil {
				t.Errorf("%s is taken, and cannot be told: %v", text, bad)
			}
		}
	}
	for _, body := range []any{&wire.SetPause{}, &map[string]time.Time{}, new([]string), new(any)} {
		if err := moments(body); err != nil {
			t.Errorf("%T: %v", body, err)
		}
	}
}
