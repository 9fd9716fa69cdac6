package format_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine/flow/format"
)

// TestLongLine: a flow of 10,000 steps costs about the same on one line as on many, although places are counted from the line's begin.
func TestLongLine(t *testing.T) {
	t.Parallel()
	steps := make([]string, 10_000)
	for i := range steps {
		steps[i] = fmt.Sprintf(`{"id":"s%d","value":{"type":"rawscript","language":"bash","content":"é"}}`, i)
	}
	parse := func(between string) time.Duration {
		text := []byte(`{"modules":[` + strings.Join(steps, ","+between) + `]}`)
		best := time.Duration(1 << 62)
		for range 3 {
			began := time.Now()
			v, err := format.ParseValue(text)
			if err != nil || len(v.Modules) != len(steps) {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		if v, err := format.ParseValue(text); err != nil || between == "" && v.Modules[1].Pos().Column != 86 {
			t.Errorf("the second step is at %s, %v", v.Modules[1].Pos(), err)
		}
		return best
	}
	if one, many := parse(""), parse("\n"); one > 8*many {
		t.Errorf("on one line it took %s, on many %s", one, many)
	}
}
