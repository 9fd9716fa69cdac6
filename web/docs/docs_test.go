package docs

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestPages(t *testing.T) {
	m, err := render(fstest.MapFS{
		"index.md": {Data: []byte("# First\n\n[b](b.md#part) [out](https://example.org/x.md) ![pic](p.svg)\n\n<script>alert(1)</script>\n")},
		"b.md":     {Data: []byte("# Second\n\n## Part\n\n| a |\n|---|\n| 1 |\n")},
		"p.svg":    {Data: []byte("<svg/>")},
	})
	if err != nil {
		t.Fatal(err)
	}
	first, ok := m.Page("")
	if !ok {
		t.Fatal("no first page")
	}
	for _, want := range []string{`href="/docs/b#part"`, `href="https://example.org/x.md"`, `src="/docs/p.svg"`, `<a href="/docs" aria-current="page">First</a>`, `<a href="/docs/b">Second</a>`} {
		if !strings.Contains(string(first), want) {
			t.Errorf("first page lacks %s", want)
		}
	}
	if strings.Contains(string(first), "alert(1)") {
		t.Error("raw HTML got through")
	}
	second, ok := m.Page("b")
	if !ok || !strings.Contains(string(second), `id="part"`) || !strings.Contains(string(second), "<table>") {
		t.Errorf("second page %v %s", ok, second)
	}
	if _, ok := m.Page("../b"); ok {
		t.Error("a page outside was found")
	}
	if b, ok := m.Image("p.svg"); !ok || string(b) != "<svg/>" {
		t.Error("no picture")
	}
}

// TestManual holds the real manual to its promise: every link between its pages leads somewhere.
func TestManual(t *testing.T) {
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range m.pages {
		for _, part := range strings.Split(string(page), `"/docs/`)[1:] {
			target, _, _ := strings.Cut(part, `"`)
			target, _, _ = strings.Cut(target, "#")
			_, isPage := m.pages[target]
			_, isImage := m.images[target]
			if !isPage && !isImage {
				t.Errorf("%s links to %s, which is not there", name, target)
			}
		}
	}
}
