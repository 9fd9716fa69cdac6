package bash

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/runtimetest"
)

func TestBash(t *testing.T) {
	runtimetest.Exercise(t, New(), runtimetest.Options{Without: map[string]string{
		"echo":   "arguments and results are text: see the cases args, result-json and result-out",
		"nomain": "a script is its own main",
		"stream": "the shell has no generators",
	}})
}

func TestBindRefuses(t *testing.T) {
	p := runtimes.Program{Source: `x="$1"`}
	l, err := New().Launch(runtimes.Host{Tool: "/bin/bash"}, p, runtimes.Artifact{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{`{}`, "x: missing, want string"},
		{`[]`, "the arguments are not a JSON object"},
		{`{"x":"a\u0000b"}`, "x: a shell argument cannot contain a NUL character"},
		{`{"x":"` + strings.Repeat("y", maxArgument) + `"}`, "x: 131072 bytes are more than a shell argument can have (131071)"},
	} {
		_, err := New().Bind(l, p, runtimes.Call{Args: json.RawMessage(c.args)})
		var f *runtimes.Failure
		if !errors.As(err, &f) || f.Name != "ArgumentError" || f.Message != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := New().Bind(l, p, runtimes.Call{Args: json.RawMessage(`{"x":1}`), Env: runtimes.Env{{Name: "A=B", Value: "c"}}}); err == nil {
		t.Error("a variable name with = was accepted")
	}
}

func TestBindLeavesLaunchAlone(t *testing.T) {
	p := runtimes.Program{Source: "b=\"$3\"\na=\"$1\""}
	l, _ := New().Launch(runtimes.Host{Tool: "/bin/bash"}, p, runtimes.Artifact{})
	before := slices.Clone(l.Spec.Env)
	s, err := New().Bind(l, p, runtimes.Call{Args: json.RawMessage(`{"a":{"k":[1]},"b":null}`), Env: runtimes.Env{{Name: "A", Value: "2"}, {Name: "Z", Value: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/bin/bash", "main.sh"}; !slices.Equal(s.Argv, want) { // argv is for everybody to see
		t.Errorf("argv %q, want %q", s.Argv, want)
	}
	if got := string(s.Files[1].Data); s.Files[1].Name != preludeFile || !strings.HasSuffix(got, "\nset -- '{\"k\":[1]}' '' ''\n") {
		t.Errorf("file %s ends in %q", s.Files[1].Name, got[max(0, len(got)-40):])
	}
	if n := len(s.Env); s.Env[n-2] != "A=2" || s.Env[n-1] != "Z=1" || !slices.Equal(l.Spec.Env, before) || len(l.Spec.Argv) != 2 || !bytes.Equal(l.Spec.Files[1].Data, prelude) {
		t.Errorf("env %q; launch %+v", s.Env, l.Spec)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# doc\nmsg=\"$1\"\ndflt=\"${2:-default value}\"\n")
	f.Add("f() {\n x=\"$1\"\n}\ncat <<EOF\ny=$1\nEOF\nz=${3:?}\n")
	f.Add("x=${1:-\\")
	f.Fuzz(func(t *testing.T, source string) {
		s, err := New().Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, p := range s.Params {
			if p.Name == "" || seen[p.Name] || p.Default != nil && !json.Valid(p.Default) {
				t.Fatalf("parameter %+v", p)
			}
			seen[p.Name] = true
		}
	})
}
