package store

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed queries/*.sql
var queryFiles embed.FS

var queries = mustLoad(queryFiles)

// q returns the statement named "-- name: <name>" in queries/. An unknown name is a programming error and panics.
func q(name string) string {
	s, ok := queries[name]
	if !ok {
		panic("store: no query is named " + name)
	}
	return s
}

func mustLoad(files fs.FS) map[string]string {
	out := map[string]string{}
	names, err := fs.Glob(files, "queries/*.sql")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err)
		}
		if err := parseQueries(string(text), out); err != nil {
			panic(fmt.Sprintf("store: %s: %v", name, err))
		}
	}
	return out
}

// parseQueries adds the sections of text to out. A section runs from its "-- name: X" line to the next.
func parseQueries(text string, out map[string]string) error {
	const mark = "-- name:"
	name, body := "", []string{}
	finish := func() error {
		s := strings.TrimSuffix(strings.TrimSpace(strings.Join(body, "\n")), ";")
		if name == "" {
			return nil
		}
		if s == "" {
			return fmt.Errorf("query %s is empty", name)
		}
		if _, dup := out[name]; dup {
			return fmt.Errorf("query %s is defined twice", name)
		}
		out[name] = s
		return nil
	}
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, mark) {
			body = append(body, line)
			continue
		}
		if err := finish(); err != nil {
			return err
		}
		name, body = strings.TrimSpace(line[len(mark):]), body[:0]
		if name == "" {
			return fmt.Errorf("a query without a name")
		}
	}
	return finish()
}
