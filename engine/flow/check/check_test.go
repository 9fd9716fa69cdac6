package check

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/flow/format"
)

var update = flag.Bool("update", false, "write the golden files anew")

// world is what lies outside of the flows of the tests.
func world(t testing.TB) Lookup {
	flows := map[string]string{
		"f/lib/sub":    `{"value": {"modules": []}, "summary": "", "schema": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}}`,
		"f/loop/a":     `{"value": {"modules": [{"id": "x", "value": {"type": "flow", "path": "f/loop/b"}}]}, "summary": ""}`,
		"f/loop/b":     `{"value": {"modules": [{"id": "x", "value": {"type": "flow", "path": "f/loop/a"}}, {"id": "y", "value": {"type": "flow", "path": "f/check/self"}}]}, "summary": ""}`,
		"f/check/self": `{"value": {"modules": []}, "summary": ""}`,
	}
	scripts := map[string]*Target{
		"f/lib/add": {
			Inputs: json.RawMessage(`{"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}, "c2": {"type": "string", "default": "x"}}, "required": ["a", "b", "c2"]}`),
			Result: json.RawMessage(`{"type": "object", "properties": {"sum": {"type": "number"}}, "additionalProperties": false}`),
		},
		"f/lib/list": {Result: json.RawMessage(`{"type": "array", "items": {"type": "string"}}`)},
		"f/lib/any":  {},
	}
	return Lookup{
		Path: "f/check/self",
		Script: func(_ context.Context, path, hash string) (*Target, error) {
			if hash != "" {
				return nil, nil
			}
			return scripts[path], nil
		},
		Flow: func(_ context.Context, path string) (*format.Flow, error) {
			src, ok := flows[path]
			if !ok {
				return nil, nil
			}
			f, err := format.Parse([]byte(src))
			if err != nil {
				t.Error(err)
			}
			return f, nil
		},
		Source: func(_, content string) (*Target, error) {
			kind, ok := strings.CutPrefix(content, "return ")
			schema, declares := strings.CutPrefix(content, "declares ")
			switch {
			case declares:
				return &Target{Result: json.RawMessage(schema)}, nil
			case content == "broken":
				return nil, errors.New("line 1: this is no program")
			case !ok || kind == "any":
				return nil, nil
			}
			return &Target{Result: json.RawMessage(fmt.Sprintf(`{"type": %q}`, kind))}, nil
		},
	}
}

func findings(t testing.TB, src []byte) []Finding {
	t.Helper()
	f, err := format.Parse(src)
	var problems format.Problems
	if errors.As(err, &problems) {
		return Problems(problems)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := Flow(context.Background(), f, world(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := format.Parse(f.JSON())
	if err != nil || string(again.JSON()) != string(f.JSON()) {
		t.Errorf("the flow does not survive a round trip: %v", err)
	}
	return out
}

// TestConformance holds a flow for each field, and for each trap of the format, against what is found in it.
func TestConformance(t *testing.T) {
	flows, err := filepath.Glob(filepath.Join("testdata", "conformance", "*.yaml"))
	if err != nil || len(flows) < 100 {
		t.Fatalf("%d flows, %v", len(flows), err)
	}
	for _, name := range flows {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := "nothing is wrong\n"
			if all := findings(t, src); len(all) > 0 {
				got = ""
				for _, f := range all {
					got += f.String() + "\n"
				}
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("found\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestLookupErrorsAreReturned(t *testing.T) {
	f, err := format.Parse([]byte(`{"summary": "", "value": {"modules": [{"id": "a", "value": {"type": "script", "path": "f/a/b"}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	down := errors.New("the database is down")
	_, err = Flow(context.Background(), f, Lookup{Script: func(context.Context, string, string) (*Target, error) { return nil, down }})
	if !errors.Is(err, down) || !strings.Contains(err.Error(), "module a") {
		t.Errorf("error %v", err)
	}
	if out, err := Flow(context.Background(), f, Lookup{}); err != nil || len(out) != 0 {
		t.Errorf("without a lookup %v, %v", out, err)
	}
}

// TestLarge judges a flow of 10,000 steps, each of which reads the one before, and one that is too large.
func TestLarge(t *testing.T) {
	flow := func(n int) *format.Flow {
		f := &format.Flow{}
		for i := range n {
			expr := "1"
			if i > 0 {
				expr = fmt.Sprintf("results.s%d.n + 1", i-1)
			}
			f.Value.Modules = append(f.Value.Modules, &format.Module{ID: fmt.Sprint("s", i), Value: &format.Script{Path: "f/lib/any",
				Inputs: format.Inputs{"x": format.Expression(expr)}}})
		}
		return f
	}
	if out, err := Flow(context.Background(), flow(10_000), world(t)); err != nil || len(out) != 0 {
		t.Errorf("%v, %v", out[:min(len(out), 3)], err)
	}
	out, err := Flow(context.Background(), flow(MaxModules+1), Lookup{})
	if err != nil || !Fatal(out) || !slices.ContainsFunc(out, func(f Finding) bool { return strings.Contains(f.Msg, "more than 100000 modules") }) {
		t.Errorf("%v, %v", out[:min(len(out), 3)], err)
	}
}

func FuzzFlow(f *testing.F) {
	flows, err := filepath.Glob(filepath.Join("testdata", "conformance", "*.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range flows {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		flow, err := format.Parse(src)
		if err != nil {
			return
		}
		if _, err := Flow(context.Background(), flow, world(t)); err != nil {
			t.Fatal(err)
		}
	})
}
