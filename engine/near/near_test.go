package near

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b     string
		limit, d int
	}{{"", "", 2, 0}, {"abc", "abc", 2, 0}, {"abc", "abd", 2, 1}, {"abc", "xabc", 2, 1}, {"abc", "", 3, 3}, {"kitten", "sitting", 9, 3}} {
		if got := Distance(c.a, c.b, c.limit); got != c.d {
			t.Errorf("%q to %q: %d, not %d", c.a, c.b, got, c.d)
		}
	}
	for _, c := range [][2]string{{"abc", "abcdefg"}, {strings.Repeat("a", 300), strings.Repeat("a", 300)}} {
		if got := Distance(c[0], c[1], 2); got <= 2 {
			t.Errorf("%.9q to %.9q: %d is within 2", c[0], c[1], got)
		}
	}
}
