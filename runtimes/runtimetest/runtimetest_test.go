package runtimetest

import "testing"

func TestSameJSON(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`{"a":1,"b":[null]}`, ` {"b": [null], "a": 1}`, true},
		{`9007199254740993`, `9007199254740992`, false},
		{`[1,2]`, `[2,1]`, false},
		{`1`, `"1"`, false},
		{`{`, `{`, false},
	} {
		if SameJSON([]byte(c.a), []byte(c.b)) != c.same {
			t.Errorf("%s and %s: want same = %v", c.a, c.b, c.same)
		}
	}
}

func TestArchive(t *testing.T) {
	a := parseArchive("Says what.\n-- source --\nline\n-- not one\n\n-- args --\n{}\n-- empty --\n")
	for name, want := range map[string]string{"source": "line\n-- not one\n", "args": "{}", "empty": ""} {
		if got, ok := a.get(name); !ok || got != want {
			t.Errorf("%s: got %q, %v", name, got, ok)
		}
	}
	if _, ok := a.get("result"); ok || a.comment != "Says what.\n" {
		t.Errorf("comment %q", a.comment)
	}
	a.set("args", "[]")
	a.set("result", "1")
	if got, _ := a.get("args"); got != "[]" || len(a.sections) != 4 {
		t.Errorf("after set: %+v", a.sections)
	}
}
