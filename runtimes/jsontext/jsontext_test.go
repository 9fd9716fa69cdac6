package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
)

var texts = []string{
	"", " ", "{}", "[]", "[ ]", "{ }", "[1]", "[1,2]", "[1,]", "[,1]", "[1 2]", "{\"a\":1}", "{\"a\" : [1, {\"b\": null}] , \"c\":\"\"}", "{\"a\"}", "{\"a\":}",
	"{\"a\":1,}", "{,}", "{1:2}", "[1}", "{\"a\":1]", "]", "}", "1 2", "1,2", "0", "-0", "01", "-", "1.", "1.5", ".5", "1e", "1e+", "1e+5", "1E-05", "-1.25e10", "+1", "1.e1",
	"true", "false", "null", "tru", "truex", "nul", "True", "\"\"", "\"a", "\"\\\"\"", "\"\\\\\"", "\"\\u12aF\"", "\"\\u12g0\"", "\"\\u12\"", "\"\\x\"", "\"\\", "\"\n\"", "\"\x7f\"",
	"\"\x80\xff\"", "\"ä€😀\"", "\"\x1f\"", "\"1234567\x1f\"", "\"12345678\\n12345678\"", "\"12345678", " \t\r\n[ \t\r\n] \t\r\n", "\ufeff1", "\x00", "[\"a\",]", "[[[[]]]]", "[[[[]]]",
	strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001),
}

func TestValidIsWhatTheLibrarySays(t *testing.T) {
	for _, s := range texts {
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("%.80q: %v, want %v", s, got, want)
		}
	}
}

// Every byte at every place of the eight that are looked at together, after bytes that make a borrow likely.
func TestEveryByteAtEveryPlace(t *testing.T) {
	for _, around := range []string{"x", "!", "#", "[", "]", " ", "\x7f", "\x80", "\xff"} {
		for place := range 20 {
			for c := range 256 {
				b := []byte(`"` + strings.Repeat(around, 20) + `"`)
				b[1+place] = byte(c)
				if got, want := Valid(b), json.Valid(b); got != want {
					t.Fatalf("%q: %v, want %v", b, got, want)
				}
			}
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range texts {
		if len(s) < 1000 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := Valid(b), json.Valid(b); got != want {
			t.Errorf("%q: %v, want %v", b, got, want)
		}
	})
}

func TestNothingIsAllocatedForShallowText(t *testing.T) {
	b := []byte(`{"text":"` + strings.Repeat("x", 1<<10) + `"}`)
	if n := testing.AllocsPerRun(100, func() { Valid(b) }); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkValid(b *testing.B) {
	text := []byte(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)
	many := []byte("[" + strings.Repeat(`{"id":12345,"name":"a name","tags":["a","b"],"on":true},`, 5000) + "0]")
	for name, f := range map[string]func([]byte) bool{"jsontext": Valid, "encoding/json": json.Valid} {
		for kind, data := range map[string][]byte{"text": text, "objects": many} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for range b.N {
					f(data)
				}
			})
		}
	}
}
