package golang

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/build"
	"github.com/millrace/millrace/runtimes/runtimetest"
	"github.com/millrace/millrace/sandbox/direct"
)

func TestGo(t *testing.T) {
	runtimetest.Exercise(t, New(), runtimetest.Options{Without: map[string]string{
		"default":     "Go has no default values; see the case pointer",
		"echo/bigint": "any holds numbers as float64; see the case bigint",
	}})
}

func TestExplain(t *testing.T) {
	for output, want := range map[string]string{
		"compile\n# millrace.job/inner\ninner/main.go:7:2: undefined: x\ninner/main.go:9:5: declared and not used: y\n":                                  "main.go:7: undefined: x\nmain.go:9: declared and not used: y",
		"go: millrace.job/inner imports\n\tgithub.com/a/b: module github.com/a/b: reading https://proxy/x: 404 Not Found":                                "Go package github.com/a/b cannot be had: 404 Not Found",
		"go: millrace.job/inner imports\n\tgithub.com/a/b/c: module github.com/a/b@latest found (v1.3.0), but does not contain package github.com/a/b/c": "Go package github.com/a/b/c cannot be had: module github.com/a/b has no such package",
		"go: github.com/a/b@v9.9.9: reading https://proxy/x: 404 Not Found":                                                                              "Go package github.com/a/b@v9.9.9 cannot be had: 404 Not Found",
		"go: x: Get \"https://p\": dial tcp: lookup p: no such host\n":                                                                                   "the Go module proxy cannot be reached (dial tcp: lookup p: no such host): check the network, or set GOPROXY for the server",
		"something else": "",
	} {
		if got := New().Explain(output); got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", output, got, want)
		}
	}
}

func TestLockIsReused(t *testing.T) {
	h := runtimes.Host{Tool: "/home/me/sdk/bin/go", Version: "1.26.8", Root: "/home/me/sdk",
		Extra: map[string]string{"GOPROXY": "https://p", certificates: "PEM"}}
	p := runtimes.Program{Source: "package inner\nimport _ \"github.com/a/b\"\nfunc main() {}", Lock: "module m\n//go.sum\nsum line\n"}
	r, err := New().Build(h, p)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.Steps[0].Spec.Files {
		got[f.Name] = string(f.Data)
	}
	if got["src/go.mod"] != "module m\n" || got["src/go.sum"] != "sum line\n" {
		t.Errorf("go.mod %q, go.sum %q", got["src/go.mod"], got["src/go.sum"])
	}
	if r.Template.Network != "host" || len(r.Template.Binds) != 1 || r.Template.Binds[0].Source != "/home/me/sdk" || r.Steps[0].Spec.Argv[0] != "/opt/go/bin/go" {
		t.Errorf("template %+v", r.Template)
	}
	env := strings.Join(r.Steps[0].Spec.Env, "\n")
	if !strings.Contains(env, "\nGOPROXY=https://p") || !strings.Contains(env, "\nSSL_CERT_FILE=/work/certificates.pem") || got["certificates.pem"] != "PEM" {
		t.Errorf("env %q", r.Steps[0].Spec.Env)
	}
	p.Source, p.Lock = "package inner\nfunc main() {}", ""
	if lock, err := New().Resolve(h, p); lock != nil || err != nil {
		t.Errorf("the standard library needs no lock: %v, %v", lock, err)
	}
	if r, err = New().Build(h, p); err != nil || r.Template.Network != "none" {
		t.Errorf("a build without modules needs no network: %+v, %v", r, err)
	}
}

// TestWarm builds what WarmRecipe says, then times the build of a script over it.
func TestWarm(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library")
	}
	h, err := New().Detect(t.Context(), "")
	if err != nil {
		t.Skip(err)
	}
	b, err := build.New(build.Config{Isolator: direct.New(""), CacheDir: runtimetest.Cache(t, "go"), Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context(), "test", New().WarmRecipe(h), t.Output()); err != nil {
		t.Fatal(err)
	}
	source := "package inner\nimport \"fmt\"\nfunc main(n int) (string, error) { return fmt.Sprint(n, \"" + time.Now().String() + "\"), nil }"
	r, err := New().Build(h, runtimes.Program{Source: source})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	a, err := b.Run(t.Context(), "test", r, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("compiled in %v", time.Since(begin))
	if _, err := os.Stat(filepath.Join(a.Dir, "main")); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("package inner\n\nimport \"time\"\n\n// Doc.\nfunc main(x string, n *int, o struct{ A []int `json:\"a\"` }, t ...time.Time) (any, error) { return nil, nil }\n")
	f.Add("package main\ntype T struct{ Next *T; M map[string]T }\nfunc main(t T) error { return nil }")
	f.Add("package x\ntype C string\nconst A C = \"a\"\nfunc preprocessor(c C) {}")
	f.Fuzz(func(t *testing.T, source string) {
		sig, err := New().Parse(source)
		if err != nil || !sig.HasMain {
			return
		}
		code, err := compiled(source, "")
		if err != nil {
			return
		}
		if _, err := parser.ParseFile(token.NewFileSet(), "main.go", code, 0); err != nil {
			t.Fatalf("a source that parses became one that does not: %v\n%s", err, code)
		}
	})
}
