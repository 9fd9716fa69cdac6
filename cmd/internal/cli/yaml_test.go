package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadObject(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		n, next := string(rune('0'+i)), string(rune('1'+i))
		bomb += "a" + next + ": &a" + next + " [" + strings.Repeat("*a"+n+",", 10) + "]\n"
	}
	for _, c := range []struct{ yaml, json, wrong string }{
		{yaml: "b: 1\na: {z: true, y: 0x10}\nn: ~\n", json: `{"b":1,"a":{"z":true,"y":16},"n":null}`},
		{yaml: "t: 2026-01-01T10:00:00Z\nd: 2026-01-01\nyes: no\nv: !other 7\n5: \"5\"\n", json: `{"t":"2026-01-01T10:00:00Z","d":"2026-01-01","yes":"no","v":"7","5":"5"}`},
		{yaml: "text: |\n  one\n  two\nfloat: 1.50\nbig: 18446744073709551615\n", json: `{"text":"one\ntwo\n","float":1.5,"big":18446744073709551615}`},
		{yaml: `{"json": [1, {"a": "\u00e9<"}]}`, json: `{"json":[1,{"a":"é\u003c"}]}`},
		{yaml: "a: .nan", wrong: "no number of JSON"},
		{yaml: "a: &x {b: 1}\nc: {<<: *x}", wrong: "a key must be a word"},
		{yaml: "? [a]\n: b", wrong: "a key must be a word"},
		{yaml: "a: 1\na: 2", wrong: "line 2: a is there twice"},
		{yaml: "a: [", wrong: "x.yaml: "},
		{yaml: "", wrong: "holds no object"},
		{yaml: "text", wrong: "holds no object"},
		{yaml: bomb, wrong: "too much"},
	} {
		if err := os.WriteFile(file, []byte(c.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readObject(file)
		if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) || c.wrong == "" && (err != nil || string(got) != c.json) {
			t.Errorf("%.60s: %s %v", c.yaml, got, err)
		}
	}
}
