package python

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/runtimetest"
	"github.com/millrace/millrace/runtimes/signature"
)

func TestPython(t *testing.T) {
	runtimetest.Exercise(t, New(), runtimetest.Options{Lib: testLib(t)})
}

// testLib is a lib folder with the assets of this very source beside what the built tree has: tools and the forker.
func testLib(t testing.TB) string {
	t.Helper()
	built, err := filepath.Abs("../../.build/lib")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(built); err != nil {
		built = t.TempDir()
	}
	lib, err := os.MkdirTemp(filepath.Dir(built), "testlib-") // one file system with built, for links
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(lib) })
	if err := os.Chmod(lib, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(lib, Assets()); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(built, func(path string, d fs.DirEntry, err error) error {
		target := filepath.Join(lib, strings.TrimPrefix(path, built))
		if _, exists := os.Lstat(target); err != nil || exists == nil && !d.IsDir() {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		return os.Link(path, target)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("MILLRACE_LIB", lib) // the helper program, if there is one, lets slots see this folder and no other
	return lib
}

func TestAssets(t *testing.T) {
	if _, err := fs.Stat(Assets(), "python/zygote.py"); err != nil {
		t.Error(err)
	}
}

func TestNeeds(t *testing.T) {
	cases := []struct{ name, source, want string }{
		{"none", "import os, sys\nfrom datetime import date\nfrom . import x\nfrom f.a.b import c\nimport u.ann.lib", ""},
		{"plain", "import requests\nimport numpy as np, os", "requests:1 numpy:2"},
		{"renamed", "import yaml\nfrom PIL import Image\nimport sklearn.svm\nfrom google.cloud import storage, bigquery", "PyYAML:1 pillow:2 scikit-learn:3 google-cloud-storage:4 google-cloud-bigquery:4"},
		{"once", "import a\nfrom a import b\nimport a.c", "a:1"},
		{"nested", "try: import six\nexcept ImportError: pass\ndef main():\n    if x:\n        from attr import s\n    return 'import no'", "six:1 attrs:5"},
		{"workflows", "from wmill import workflow, task\nfrom wmill import (\n  step, sleep, wait_for_approval, get_approval_urls,\n)", ""},
		{"workflows and more", "from wmill import workflow, get_variable", "wmill:1"},
		{"package of workflows", "import wmill", "wmill:1"},
		{"pinned", "import x # pin: dep==1.2\nimport y  # repin: y[z]>=2", "dep==1.2:1 y[z]>=2:2"},
		{"parentheses", "from bs4 import (\n  A,\n  B,\n)  # pin: beautifulsoup4==4.12", "beautifulsoup4==4.12:4"},
		{"block", "# requirements:\n# pandas==2.0\n#requests # why\n\n# numpy\nimport yaml", "pandas==2.0:2 requests:3"},
		{"empty block", "# requirements:\nimport yaml", ""},
		{"extra", "# extra_requirements:\n# lxml\nimport bs4", "beautifulsoup4:3 lxml:2"},
		{"metadata", "# /// script\n# requires-python = \">=3.8\"\n# dependencies = [\n#   \"rich>1\",  # c\n#   'requests[socks]',\n# ]\n# other = [\"no\"]\n# ///\nimport yaml", "rich>1:4 requests[socks]:5"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := needs(c.source)
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for _, n := range got {
				parts = append(parts, n.spec+":"+string(rune('0'+n.line)))
			}
			if s := strings.Join(parts, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestVersionAsked(t *testing.T) {
	h := runtimes.Host{Version: "3.11.2"}
	for source, line := range map[string]int{
		"#py: >=3.9\nx": 0, "# py: 3.11": 0, "# py311": 0, "#py: ==3.11.*, !=3.11.1": 0, "# py: ~=3.10": 0, "import x\n# py312": 0,
		"# py: <=3.11": 0, "# python rules": 0,
		"#py: >=3.12": 1, "# hello\n# py313": 2, "#py: <3.11": 1, "# py: 3.11.4": 1, "# py: >3.11": 1,
		"# /// script\n# requires-python = \">=3.12\"\n# ///": 2,
	} {
		var bad *runtimes.SourceError
		err := checkVersion(h, source)
		if errors.As(err, &bad); (err == nil) != (line == 0) || bad != nil && bad.Line != line {
			t.Errorf("%q: got %v, want line %d", source, err, line)
		}
	}
}

func TestExplain(t *testing.T) {
	const asked = "nosuch  # line 3: import nosuch\nsix==99  # line 4: # six==99\n"
	for output, want := range map[string]string{
		"error: No solution found when resolving dependencies\n  cause: Because nosuch was not found in the package registry and you require nosuch, we can": "package nosuch does not exist on the index (line 3: import nosuch)",
		"  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of six==99 and you require":                                   "package six has no version that fits six==99 (line 4: # six==99)",
		"  × No solution found when resolving dependencies:\n  ╰─▶ Because a==1 depends on b>2 and you\n      require b<2, we can conclude":                  "the requirements contradict each other: Because a==1 depends on b>2 and you require b<2",
		"error: Failed to fetch: `https://x/simple/six/`\n Caused by: error sending request for url: dns error":                                              "the package index cannot be reached",
		"hello": "",
	} {
		if got := New().Explain(asked + output); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s:\ngot  %q\nwant %q", output, got, want)
		}
	}
}

func TestIndexEnv(t *testing.T) {
	env := map[string]string{"PIP_INDEX_URL": "https://u:p@index/simple", "HTTPS_PROXY": "http://proxy", "SECRET": "x", "SSL_CERT_FILE": "/c"}
	got := indexEnv(func(k string) string { return env[k] })
	want := map[string]string{"env:UV_INDEX_URL": "https://u:p@index/simple", "env:HTTPS_PROXY": "http://proxy", "env:SSL_CERT_FILE": "/c"}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: got %q, want %q", k, got[k], v)
		}
	}
	recipe, err := New().Resolve(runtimes.Host{Tool: "/usr/bin/python3", Version: "3.11.2",
		Extra: map[string]string{"uv": "/usr/bin/uv", "env:UV_INDEX_URL": "https://u:p@index/simple"}}, runtimes.Program{Source: "import six"})
	if err != nil {
		t.Fatal(err)
	}
	if argv := strings.Join(recipe.Steps[0].Spec.Argv, " "); strings.Contains(argv, "u:p") {
		t.Errorf("credentials in argv: %s", argv)
	}
}

// FuzzParse: no input makes the parser panic or give a schema that cannot be used; an error is always the user's.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.txtar", "testdata/run/*.txtar"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(string(data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, source string) {
		s, err := New().Parse(source)
		var bad *runtimes.SourceError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("not the user's error: %v", err)
		}
		if _, err := signature.Compile(signature.Schema(s)); err != nil && strings.ToValidUTF8(source, "") == source {
			t.Fatalf("unusable schema %s: %v", signature.Schema(s), err)
		}
		if _, err := needs(source); err != nil && !errors.As(err, &bad) {
			t.Fatalf("not the user's error: %v", err)
		}
	})
}

// TestHostile: sources made to be slow are not.
func TestHostile(t *testing.T) {
	classes := "class C0: pass\n"
	for i := 1; i < 60; i++ {
		classes += fmt.Sprintf("class C%d(C%d, C%d):\n  a: \"T%d\"\n  b: \"T%d\"\nT%d = dict[C%d, T%d] | list[T%d]\n", i, i-1, i-1, i-1, i-1, i, i, i-1, i-1)
	}
	sources := []string{
		"def main(a=" + strings.Repeat("{", 90) + "1" + strings.Repeat("}", 90) + "): pass",
		"def main(a=" + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + "): pass",
		"def main(a: " + strings.Repeat("list[", 20000) + "int" + strings.Repeat("]", 20000) + "): pass",
		"def main(a: " + strings.Repeat("int | ", 50000) + "str): pass",
		classes + "def main(a: C59, b: T59): pass",
	}
	for i, source := range sources {
		start := time.Now()
		s, err := New().Parse(source)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("source %d took %v", i, took)
		}
		if schema := signature.Schema(s); err == nil && len(schema) > 8<<20 {
			t.Errorf("source %d: a schema of %d bytes", i, len(schema))
		}
	}
}
