package runtimetest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// archive is a test case on paper: a comment, then sections that begin with "-- name --" (the txtar format).
type archive struct {
	name     string // of the file, without extension
	file     string
	comment  string
	sections []section
}

type section struct{ name, text string }

// get returns a section's text without the final line end, and whether it is there.
func (a *archive) get(name string) (string, bool) {
	i := slices.IndexFunc(a.sections, func(s section) bool { return s.name == name })
	if i < 0 {
		return "", false
	}
	return strings.TrimSuffix(a.sections[i].text, "\n"), true
}

func (a *archive) set(name, text string) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	i := slices.IndexFunc(a.sections, func(s section) bool { return s.name == name })
	if i < 0 {
		a.sections = append(a.sections, section{name: name, text: text})
		return
	}
	a.sections[i].text = text
}

func (a *archive) write(t *testing.T) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(a.comment)
	for _, s := range a.sections {
		b.WriteString("-- " + s.name + " --\n" + s.text)
	}
	if err := os.WriteFile(a.file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readArchives reads the cases of a folder, ordered by name.
func readArchives(t *testing.T, dir string) []*archive {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*archive
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a := parseArchive(string(data))
		a.file, a.name = file, strings.TrimSuffix(filepath.Base(file), ".txtar")
		out = append(out, a)
	}
	return out
}

func parseArchive(data string) *archive {
	a := &archive{}
	for line := range strings.Lines(data) {
		mark := strings.TrimSpace(line)
		if strings.HasPrefix(mark, "-- ") && strings.HasSuffix(mark, " --") && len(mark) > 6 {
			a.sections = append(a.sections, section{name: strings.TrimSpace(mark[3 : len(mark)-3])})
			continue
		}
		if n := len(a.sections); n > 0 {
			a.sections[n-1].text += line
		} else {
			a.comment += line
		}
	}
	return a
}
