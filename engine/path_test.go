package engine

import (
	"regexp"
	"testing"
)

// pathPattern is what a path is, said in another way.
var pathPattern = regexp.MustCompile(`^(u|f)/[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)+$`)

func FuzzPath(f *testing.F) {
	for _, p := range []string{"", "u", "u/", "f/a", "f/a/", "f/a/b", "u/ann/x_1.y-z/w", "f//a/b", "f/a//b", "/f/a/b", "f/a/b/", "g/a/b", "f/a/b\n", "f/ä/b", "f/a/b c", "uf/a/b"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if want := len(p) <= 255 && pathPattern.MatchString(p); (CheckPath("test", p) == nil) != want {
			t.Errorf("%q: want %v", p, want)
		}
	})
}
