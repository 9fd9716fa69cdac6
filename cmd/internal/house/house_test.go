package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const top = "../../.."

// source is one Go file of the tree.
type source struct {
	path   string // relative to the top
	folder string
	test   bool
	ast    *ast.File
}

// walk calls fn for every file of the rooms, with its path relative to the top; generated output and test data are left out.
func walk(t *testing.T, fn func(file string)) {
	t.Helper()
	for _, room := range append([]string{"bench", "packaging", "systemd"}, line...) {
		root := filepath.Join(top, room)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil // a room that is still empty, or a file that another test has just removed
				}
				return err
			}
			if d.IsDir() && slices.Contains([]string{"testdata", "node_modules", "dist", "results"}, d.Name()) {
				return filepath.SkipDir
			}
			if d.Type().IsRegular() {
				rel, err := filepath.Rel(top, p)
				if err != nil {
					return err
				}
				fn(filepath.ToSlash(rel))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func sources(t *testing.T, mode parser.Mode) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	walk(t, func(file string) {
		if !strings.HasSuffix(file, ".go") {
			return
		}
		tree, err := parser.ParseFile(fset, filepath.Join(top, file), nil, mode|parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			return
		}
		out = append(out, source{path: file, folder: path.Dir(file), test: strings.HasSuffix(file, "_test.go"), ast: tree})
	})
	if len(out) < 10 {
		t.Fatalf("found only %d Go files under %s", len(out), top)
	}
	return out
}

func TestImportLine(t *testing.T) {
	for _, s := range sources(t, parser.ImportsOnly) {
		for _, imported := range s.ast.Imports {
			name, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := CheckImport(s.folder, name, s.test); why != "" {
				t.Errorf("%s: %s", s.path, why)
			}
		}
	}
}

func TestCheckImport(t *testing.T) {
	cases := []struct {
		folder, imported string
		test, allowed    bool
	}{
		{"cmd/millrace", Module + "/web/api", false, true},
		{"cmd/millrace", Module + "/sandbox/slot", false, true},
		{"web/api", Module + "/engine", false, true},
		{"web/api", Module + "/cmd/internal/cli", false, false},
		{"engine/queue", Module + "/web", false, false},
		{"engine/queue", Module + "/engine/store", false, true},
		{"engine", Module + "/engine/store", false, false},
		{"web", Module + "/web/api", false, true},
		{"runtimes/python", Module + "/engine", true, false},
		{"sandbox", Module + "/runtimes", false, false},
		{"sandbox/slot", Module + "/sandbox", false, true},
		{"bench", Module + "/web/client", false, true},
		{"bench", Module + "/engine", false, false},
		{"engine/store", "github.com/jackc/pgx/v5", false, true},
		{"engine/store/pgserver", "github.com/jackc/pgx/v5/pgconn", false, true},
		{"engine/queue", "github.com/jackc/pgx/v5", false, false},
		{"engine/queue", "github.com/jackc/pgx/v5", true, true},
		{"web/api", "github.com/jackc/pgx/v5", true, false},
		{"engine/bus", "github.com/rs/zerolog", false, true},
		{"engine/bus", "github.com/rs/zerolog/log", false, false},
		{"engine/bus", "github.com/valyala/fasthttp", false, false},
		{"engine/bus", "github.com/valyala/fastrand", false, true},
	}
	for _, c := range cases {
		if why := CheckImport(c.folder, c.imported, c.test); (why == "") != c.allowed {
			t.Errorf("%s imports %s (test %v): %q, want allowed=%v", c.folder, c.imported, c.test, why, c.allowed)
		}
	}
}

func TestPackages(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t, parser.PackageClauseOnly) {
		name := s.ast.Name.Name
		if slices.Contains(vagueNames, strings.TrimSuffix(name, "_test")) {
			t.Errorf("%s: a package named %s says nothing about its duty", s.path, name)
		}
		for _, suffix := range []string{"_v2", "_new", "_old", "_oss", "_ee"} {
			if base := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test"); strings.HasSuffix(base, suffix) {
				t.Errorf("%s: twins drift apart: replace the file and delete the other", s.path)
			}
		}
		if s.test {
			continue
		}
		doc, opening := s.ast.Doc.Text(), "Package "+name+" "
		if name == "main" { // "Command x ..." or "X ..."
			opening = path.Base(s.folder)
			doc = strings.ToLower(strings.TrimPrefix(doc, "Command "))
		}
		documented[s.folder] = documented[s.folder] || strings.HasPrefix(doc, opening)
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%[1]s: no file opens with \"// Package %[2]s ...\" (\"// Command %[2]s ...\" for a main package) and its contract",
				folder, path.Base(folder))
		}
	}
}

func TestFileSize(t *testing.T) {
	walk(t, func(file string) {
		if !slices.Contains([]string{".go", ".c", ".h", ".py", ".ts", ".js", ".svelte", ".sql", ".sh"}, path.Ext(file)) {
			return
		}
		data, err := os.ReadFile(filepath.Join(top, file))
		if err != nil {
			t.Error(err)
			return
		}
		if head := data[:min(len(data), 300)]; bytes.Contains(head, []byte("Code generated")) {
			return
		}
		switch lines := bytes.Count(data, []byte("\n")); {
		case lines > linesAllowed:
			t.Errorf("%s has %d lines, more than %d: find the second noun in it", file, lines, linesAllowed)
		case lines > linesWanted:
			t.Logf("%s has %d lines, more than the %d we like", file, lines, linesWanted)
		}
	})
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top: everything has a room", e.Name())
		}
	}
}

func TestLanguagesAreData(t *testing.T) {
	for _, s := range sources(t, parser.SkipObjectResolution) {
		if s.test || within(s.folder, languageRooms) || within(s.path, languageRooms) {
			continue
		}
		imports := map[ast.Node]bool{}
		for _, i := range s.ast.Imports {
			imports[i.Path] = true
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING || imports[n] {
				return true
			}
			if value, err := strconv.Unquote(lit.Value); err == nil && slices.Contains(languages, value) {
				t.Errorf("%s: names the language %q; only runtimes/<language> and families.go may, elsewhere it is data", s.path, value)
			}
			return true
		})
	}
}
