package execute

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCleanerJoinsRunesAcrossWrites(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\n": "plain\n", "héllo 漢 \U0001F600!": "héllo 漢 \U0001F600!", "a\x00b": "a\uFFFDb", "\xff\xfeA": "\uFFFD\uFFFDA",
		"cut \xe6\xbc": "cut \uFFFD", "\xe6A": "\uFFFDA",
	} {
		for size := 1; size <= len(in); size++ {
			var c cleaner
			var out []byte
			for rest := in; rest != ""; {
				n := min(size, len(rest))
				out = c.add(out, []byte(rest[:n]))
				if !utf8.Valid(out) {
					t.Fatalf("%q in pieces of %d: invalid text %q", in, size, out)
				}
				rest = rest[n:]
			}
			if out = c.end(out); string(out) != want {
				t.Errorf("%q in pieces of %d: %q, want %q", in, size, out, want)
			}
		}
	}
}

func FuzzCleaner(f *testing.F) {
	f.Add([]byte("h\xc3\xa9\x00\xff"), 1)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		var whole, parts cleaner
		want := whole.end(whole.add(nil, in))
		var got []byte
		for rest := in; len(rest) > 0; {
			n := min(max(1, size%7), len(rest))
			got = parts.add(got, rest[:n])
			rest = rest[n:]
		}
		got = parts.end(got)
		if !utf8.Valid(got) || strings.ContainsRune(string(got), 0) || string(got) != string(want) {
			t.Fatalf("%q: %q in one piece, %q in pieces", in, want, got)
		}
	})
}
