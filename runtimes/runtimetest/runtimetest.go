// Package runtimetest is the one conformance suite of all languages. A language's whole test is
//
//	func TestBash(t *testing.T) { runtimetest.Exercise(t, bash.New(), runtimetest.Options{}) }
//
// and its cases are files that read as "this source, called so, answers so":
//
//	testdata/*.txtar      signatures: source, then schema (JSON) or error ("SyntaxError: message (line 3)")
//	testdata/run/*.txtar  runs: source; args, env, path, entry, lock and network ("host") as needed; then what must come of it
//
// What must come of a run: "result" (JSON, compared by value) or "failure", of which each line names a part and a piece of
// text it must contain ("name: ValueError", "message: boom", "stack: line 3", "extra: ..."); "logs": each line is a line of the
// output; "stream": the result stream's exact text; "history", "answers" and "asks": see ask.go. A failure's name must be equal. A "needs" section lists, one a line, what
// else the case needs: "network" (to reach a package registry).
//
// Signature files are rewritten from what the code says with -update.
package runtimetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/signature"
	"github.com/millrace/millrace/sandbox"
)

var update = flag.Bool("update", false, "rewrite the expected schemas in testdata from what the code does")

// Options says what is special about a language or its test.
type Options struct {
	// Without names cases of the common set that the language does not have, each with the reason.
	Without map[string]string
	// Lib is the folder of the product's helpers. Empty: MILLRACE_LIB, else .build/lib of this source tree.
	Lib string
	// Isolator runs the programs. Nil: real slots if MILLRACE_TEST_JAIL names the helper, else plain processes.
	Isolator sandbox.Isolator
	// Static leaves out everything that runs programs.
	Static bool
}

// Exercise checks that rt keeps the contract of runtimes.Runtime and does what its cases say.
func Exercise(t *testing.T, rt runtimes.Runtime, o Options) {
	t.Helper()
	t.Run("info", func(t *testing.T) { checkInfo(t, rt.Info()) })
	t.Run("pure", func(t *testing.T) { checkPure(t, rt) })
	t.Run("calls", func(t *testing.T) { checkCalls(t, rt) })
	t.Run("signature", func(t *testing.T) { checkSignatures(t, rt) })
	if !o.Static {
		t.Run("run", func(t *testing.T) { checkRuns(t, rt, o) })
		t.Run("secrets", func(t *testing.T) { checkSecrets(t, rt, o) })
	}
}

func checkInfo(t *testing.T, i runtimes.Info) {
	if i.Name == "" || i.Title == "" || i.Tag == "" || i.Comment == "" || len(i.Extensions) == 0 {
		t.Errorf("incomplete: %+v", i)
	}
	for _, e := range i.Extensions {
		if len(e) < 2 || e[0] != '.' {
			t.Errorf("extension %q has no dot", e)
		}
	}
}

// checkPure asks every question twice: same in, same out.
func checkPure(t *testing.T, rt runtimes.Runtime) {
	h := runtimes.Host{Lib: "/lib/millrace", Tool: "/usr/bin/tool", Version: "1", Extra: map[string]string{}}
	for _, a := range readArchives(t, "testdata/run") {
		source, _ := a.get("source")
		p := program(a, rt.Info().Name, source)
		built := runtimes.Artifact{Dir: "/var/cache/out/key"}
		l1, e1 := rt.Launch(h, p, built)
		l2, e2 := rt.Launch(h, p, built)
		same(t, a.name+": Launch", l1, l2, e1, e2)
		s1, e1 := rt.Parse(source)
		s2, e2 := rt.Parse(source)
		same(t, a.name+": Parse", s1, s2, e1, e2)
		if r, ok := rt.(runtimes.Resolver); ok {
			r1, e1 := r.Resolve(h, p)
			r2, e2 := r.Resolve(h, p)
			same(t, a.name+": Resolve", r1, r2, e1, e2)
			checkRecipe(t, a.name, r1)
		}
		if b, ok := rt.(runtimes.Builder); ok {
			r1, e1 := b.Build(h, p)
			r2, e2 := b.Build(h, p)
			same(t, a.name+": Build", r1, r2, e1, e2)
			checkRecipe(t, a.name, r1)
		}
		if e1 == nil && l1.Template.Network != "" && l1.Template.Network != p.Network {
			t.Errorf("%s: Launch runs with network %q, the program says %q", a.name, l1.Template.Network, p.Network)
		}
	}
}

func same[T any](t *testing.T, what string, a, b T, errA, errB error) {
	t.Helper()
	if !reflect.DeepEqual(a, b) || (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() {
		t.Errorf("%s answers differently when asked again:\n%+v, %v\n%+v, %v", what, a, errA, b, errB)
	}
}

func checkRecipe(t *testing.T, name string, r *runtimes.Recipe) {
	t.Helper()
	if r == nil {
		return
	}
	if r.Key == "" || filepath.Base(r.Key) != r.Key || len(r.Steps) == 0 || !r.Template.Build {
		t.Errorf("%s: recipe with key %q, %d steps, Build=%v", name, r.Key, len(r.Steps), r.Template.Build)
	}
	for _, s := range r.Steps {
		if s.Title == "" || len(s.Spec.Argv) == 0 {
			t.Errorf("%s: step %+v has no title or no program", name, s)
		}
	}
}

func checkSignatures(t *testing.T, rt runtimes.Runtime) {
	cases := readArchives(t, "testdata")
	if len(cases) == 0 {
		t.Fatal("no signature cases in testdata/*.txtar")
	}
	for _, a := range cases {
		t.Run(a.name, func(t *testing.T) {
			source, ok := a.get("source")
			if !ok {
				t.Fatal("no source section")
			}
			s, err := rt.Parse(source)
			if *update {
				a.rewrite(s, err)
				a.write(t)
				return
			}
			a.compare(t, s, err)
		})
	}
}

// compare checks the sections schema, doc, returns and error, whichever there are.
func (a *archive) compare(t *testing.T, s runtimes.Signature, err error) {
	t.Helper()
	want, bad := a.get("error")
	if bad {
		var source *runtimes.SourceError
		if !errors.As(err, &source) || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	schema, ok := a.get("schema")
	if !ok {
		t.Fatal("neither schema nor error")
	}
	if got := signature.Schema(s); indent(got) != indent([]byte(schema)) {
		t.Errorf("got schema\n%s\nwant\n%s", indent(got), indent([]byte(schema)))
	}
	if doc, ok := a.get("doc"); ok && doc != s.Doc {
		t.Errorf("got doc %q, want %q", s.Doc, doc)
	}
	if facts, ok := a.get("facts"); ok && facts != describe(s) {
		t.Errorf("got facts %q, want %q", describe(s), facts)
	}
	if returns, _ := a.get("returns"); returnsOf(s) != returns {
		t.Errorf("got returns\n%s\nwant\n%s", returnsOf(s), returns)
	}
	if _, err := signature.Compile(signature.Schema(s)); err != nil {
		t.Errorf("the schema cannot be used to check arguments: %v", err)
	}
}

// returnsOf is the schema of the result, "" when there is none.
func returnsOf(s runtimes.Signature) string {
	if s.Result == nil {
		return ""
	}
	return indent(signature.Result(s))
}

func (a *archive) rewrite(s runtimes.Signature, err error) {
	if err != nil {
		a.set("error", err.Error())
		return
	}
	a.set("schema", indent(signature.Schema(s)))
	if s.Doc != "" {
		a.set("doc", s.Doc)
	}
	if r := returnsOf(s); r != "" {
		a.set("returns", r)
	}
	if d := describe(s); d != "main" {
		a.set("facts", d)
	}
}

// describe names the entry points: "main", "async main, preprocessor" or "library".
func describe(s runtimes.Signature) string {
	text := "library"
	if s.HasMain {
		text = "main"
	}
	if s.Async {
		text = "async " + text
	}
	if s.HasPreprocessor {
		text += ", preprocessor"
	}
	return text
}

func indent(b []byte) string {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return string(b)
	}
	return out.String()
}
