package sandboxtest

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// entries are the names in the tables of testdata: of probes, of leftovers and of bombs.
func entries(t *testing.T) (probes, leftovers, bombs []string) {
	t.Helper()
	files, err := fs.Glob(probeSource, "testdata/*.c")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := probeSource.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\b([PLB])\((\w+)\)`).FindAllStringSubmatch(string(b), -1) {
			switch m[1] {
			case "P":
				probes = append(probes, m[2])
			case "B":
				bombs = append(bombs, m[2])
			default:
				leftovers = append(leftovers, m[2])
			}
		}
	}
	macro := func(name string) bool { return name == "x" } // a table's own macro is no entry
	return probes, slices.DeleteFunc(leftovers, macro), slices.DeleteFunc(bombs, macro)
}

// TestThreatModel holds the numbers and names of the page against what is there, and looks that no two entries have one name.
func TestThreatModel(t *testing.T) {
	b, err := os.ReadFile("../../web/docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	probes, leftovers, bombs := entries(t)
	for what, list := range map[string][]string{"%d probes of what a program can do": probes, "%d of what it could leave": leftovers, "%d bombs": bombs} {
		if want := strings.Replace(what, "%d", strconv.Itoa(len(list)), 1); !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
		seen := map[string]bool{}
		for _, name := range list {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
	all := append(append(probes, leftovers...), bombs...)
	_, table, _ := strings.Cut(page, "| promise | wall | behind it | probes |")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.Contains(line, "| tests of ") {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z0-9_*]+)`").FindAllStringSubmatch(cells[len(cells)-2], -1) {
			if !anyMatches(m[1], all) && m[1] != "fresh" {
				t.Errorf("the page names %s, and there is no such probe", m[1])
			}
		}
	}
}

func anyMatches(pattern string, names []string) bool {
	for _, n := range names {
		if ok, _ := path.Match(pattern, n); ok {
			return true
		}
	}
	return false
}
