package bun

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

func TestBun(t *testing.T) {
	runtimetest.Exercise(t, New(), runtimetest.Options{Lib: testLib(t), Without: map[string]string{
		"echo/bigint": "a JSON number is a double in JavaScript; a parameter of type bigint has all digits (run/bigint)",
	}})
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
	if _, err := fs.Stat(Assets(), "bun/boot.js"); err != nil {
		t.Error(err)
	}
}

func TestNeeds(t *testing.T) {
	cases := []struct{ name, source, want string }{
		{"none", `import fs from "fs"; import "node:path"; import { x } from "./y"; import z from "/f/a/b"; import q from "bun:sqlite"; import u from "https://x/y.ts"`, ""},
		{"static", "import a from 'lodash';\nimport { b } from \"@scope/pkg/sub\";\nimport * as c from `d`;\nimport 'side-effect'", "lodash@:1 @scope/pkg@:2 d@:3 side-effect@:4"},
		{"pins", "import a from 'lodash@4.17.21/fp';\nimport b from '@s/p@^1.0.0/x';\nimport c from 'npm:zod@3'", "lodash@4.17.21:1 @s/p@^1.0.0:2 zod@3:3"},
		{"pin wins", "import a from 'lodash/a'; import b from 'lodash@4/b'\nimport c from 'lodash@3'", "lodash@4:1"},
		{"export from", "export { a } from 'x';\nexport * from 'y';\nexport * as z from 'z'", "x@:1 y@:2 z@:3"},
		{"dynamic", "const a = await import('x');\nconst b = require(\"y/z\");\nconst c = import(name); o.require('no'); f('no')", "x@:1 y@:2"},
		{"types only", "import type { A } from 'x';\nimport { type B } from 'y';\nimport type from 'z'", "y@:2 z@:3"},
		{"workflows", "import { workflow, task, step as s, type TaskOptions } from 'windmill-client'; import type { A } from 'windmill-client'", ""},
		{"workflows and more", "import { workflow, getVariable } from 'windmill-client'", "windmill-client@:1"},
		{"workflows of a version", "import { workflow } from 'windmill-client@1.818.0'", "windmill-client@1.818.0:1"},
		{"package of workflows", "import * as wmill from 'windmill-client'; import w from 'windmill-client'", "windmill-client@:1"},
		{"strings", "const s = \"import x from 'no'\"; // import y from 'no'\nconst from = 1, t = `from 'no'`;", ""},
		{"multi-line", "import {\n  a,\n  b,\n} from 'x'", "x@:4"},
		{"nonsense", "import 'a b'; import '$(rm)'; import ''; import '@x'", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var parts []string
			for _, n := range needs(c.source) {
				parts = append(parts, fmt.Sprintf("%s@%s:%d", n.name, n.version, n.line))
			}
			if s := strings.Join(parts, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestUnpinned(t *testing.T) {
	for source, want := range map[string]string{
		`import a from "lodash@4.17.21/fp"; x`:      `import a from "lodash/fp"        ; x`,
		`import a from '@s/p@1'; import b from "c"`: `import a from '@s/p'  ; import b from "c"`,
		`const a = require("x@1"), m = "x@1"`:       `const a = require("x"  ), m = "x@1"`,
		`import "npm:zod@3"`:                        `import "zod"      `,
		"\ufeffimport 'a@1'":                        `import 'a'  `,
	} {
		if got := unpinned(source); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", source, got, want)
		}
	}
}

func TestOrder(t *testing.T) {
	for source, want := range map[string]string{
		`export function main(a: string, b?: Date, c: bigint = 3n, d: Uint8Array | null, e = 1) {}`: "\n" +
			`[["a",true,""],["b",false,"date"],["c",false,"bigint"],["d",false,"bytes"],["e",false,""]]`,
		`export function main() {}`:            "\n[]",
		`export function other() {}`:           "",
		`export function main(a: string b) {}`: "",
	} {
		if got := order(source, "main"); got != want {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	const log = "nosuch@latest  // line 3: import nosuch\n@a/b@1  // line 4: import b\n"
	for output, want := range map[string]string{
		"error: GET https://registry/nosuch - 404\nerror: nosuch@latest failed to resolve":                     "package nosuch does not exist in the registry (line 3: import nosuch)",
		"error: GET https://registry/@a%2fb - 404\nerror: @a/b@1 failed to resolve":                            "package @a/b does not exist in the registry (line 4: import b)",
		`error: No version matching "1" found for specifier "@a/b" (but package exists)`:                       "package @a/b has no version 1 (line 4: import b)",
		`error: Package "nosuch" with tag "next" not found, but package exists`:                                "package nosuch has no version next (line 3: import nosuch)",
		"error: ConnectionRefused downloading package manifest nosuch\nerror: nosuch@latest failed to resolve": "the package registry cannot be reached",
		"error: lockfile had changes, but lockfile is frozen":                                                  "the lock does not fit",
		"fine": "",
	} {
		if got := New().Explain(log + output); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s:\ngot  %q\nwant %q", output, got, want)
		}
	}
}

func TestLocks(t *testing.T) {
	h := runtimes.Host{Lib: "/lib/millrace", Tool: "/lib/millrace/tools/bin/bun", Version: "1", Extra: map[string]string{"env:NPM_CONFIG_REGISTRY": "https://u:p@r"}}
	for lock, want := range map[string]string{
		"": "nothing",
		"{\"dependencies\": {}}\n//bun.lock\n<empty>":        "nothing",
		"{\"dependencies\": {\"a\": \"1\"}}\n//bun.lock\n{}": "frozen",
		"{\"dependencies\": {\"a\": \"1\"}}":                 "free",
		"a==1\n":                                             "error",
	} {
		got := "nothing"
		r, err := New().Build(h, runtimes.Program{Lock: lock})
		var bad *runtimes.SourceError
		switch {
		case errors.As(err, &bad):
			got = "error"
		case err != nil:
			t.Fatal(err)
		case r != nil:
			argv := strings.Join(r.Steps[0].Spec.Argv, " ")
			if strings.Contains(argv, "u:p") || !strings.Contains(argv, "/millrace/lib/tools/bin/bun") {
				t.Errorf("argv: %s", argv)
			}
			if got = "free"; strings.Contains(argv, "--frozen-lockfile") {
				got = "frozen"
			}
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", lock, got, want)
		}
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
		needs(source)
		if before, after := strings.Count(source, "\n"), strings.Count(unpinned(source), "\n"); before != after {
			t.Fatalf("taking out versions changed the number of lines: %d, then %d", before, after)
		}
		order(source, "main")
	})
}

// TestHostile: sources made to be slow are not.
func TestHostile(t *testing.T) {
	types := "type T0 = string;\n"
	for i := 1; i < 60; i++ {
		types += fmt.Sprintf("type T%d = [T%d, { a: T%d }] | T%d | T%d;\ninterface I%d extends I%d, I%d { x: T%d }\n", i, i-1, i-1, i-1, i-1, i, i-1, i-1, i)
	}
	sources := []string{
		"export function main(a = " + strings.Repeat("{a:", 50000) + strings.Repeat("}", 50000) + ") {}",
		"export function main(a: " + strings.Repeat("Array<", 20000) + "x" + strings.Repeat(">", 20000) + ") {}",
		"export function main(a = x" + strings.Repeat("<a", 50000) + ") {}",
		"export function main(a: " + strings.Repeat("string | ", 50000) + "number) {}",
		strings.Repeat("const x = (\n", 3000),
		types + "export function main(a: T59, b: I59) {}",
	}
	for i, source := range sources {
		start := time.Now()
		s, err := New().Parse(source)
		t.Logf("source %d took %v", i, time.Since(start))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("source %d took %v", i, took)
		}
		if schema := signature.Schema(s); err == nil && len(schema) > 8<<20 {
			t.Errorf("source %d: a schema of %d bytes", i, len(schema))
		}
	}
}
