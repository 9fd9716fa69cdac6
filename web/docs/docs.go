// Package docs is the manual: Markdown files of this folder, rendered once into pages with a navigation. A page's name
// is its file's name without the ending, its title the first heading. A new page is a new file, nothing else.
package docs

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

//go:embed *.md *.svg
var files embed.FS

//go:embed page.html
var pageHTML string

var frame = template.Must(template.New("page").Parse(pageHTML))

// Manual is the rendered manual. It does not change and is safe for concurrent use.
type Manual struct {
	pages   map[string][]byte
	images  map[string][]byte
	missing []byte
}

// Entry is a line of the navigation.
type Entry struct {
	Name, Title, Link string
	Here              bool
}

// New renders all pages.
func New() (*Manual, error) { return render(files) }

// Page returns a page; "" is the first one. For an unknown name it returns a page that says so, and false.
func (m *Manual) Page(name string) ([]byte, bool) {
	if name == "" {
		name = "index"
	}
	if p, ok := m.pages[name]; ok {
		return p, true
	}
	return m.missing, false
}

// Image returns a picture (SVG) by its file's name.
func (m *Manual) Image(name string) ([]byte, bool) {
	b, ok := m.images[name]
	return b, ok
}

func (m *Manual) readImages(from fs.FS) error {
	names, err := fs.Glob(from, "*.svg")
	if err != nil {
		return fmt.Errorf("list pictures: %w", err)
	}
	for _, name := range names {
		if m.images[name], err = fs.ReadFile(from, name); err != nil {
			return fmt.Errorf("read picture: %w", err)
		}
	}
	return nil
}

func render(from fs.FS) (*Manual, error) {
	names, err := fs.Glob(from, "*.md")
	if err != nil {
		return nil, fmt.Errorf("list manual: %w", err)
	}
	sources := map[string][]byte{}
	var nav []Entry
	for _, file := range names {
		name := strings.TrimSuffix(file, ".md")
		src, err := fs.ReadFile(from, file)
		if err != nil {
			return nil, fmt.Errorf("read manual: %w", err)
		}
		sources[name] = src
		nav = append(nav, Entry{Name: name, Title: title(name, src), Link: link(name)})
	}
	slices.SortFunc(nav, func(a, b Entry) int {
		if (a.Name == "index") != (b.Name == "index") {
			if a.Name == "index" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Title, b.Title)
	})
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID(),
		parser.WithASTTransformers(util.Prioritized(links{}, 100))))
	m := &Manual{pages: map[string][]byte{}, images: map[string][]byte{}}
	if err := m.readImages(from); err != nil {
		return nil, err
	}
	for _, e := range nav {
		var body bytes.Buffer
		if err := md.Convert(sources[e.Name], &body); err != nil {
			return nil, fmt.Errorf("render %s: %w", e.Name, err)
		}
		if m.pages[e.Name], err = fill(e, nav, body.String()); err != nil {
			return nil, err
		}
	}
	m.missing, err = fill(Entry{Title: "Not found"}, nav, "<h1>Not found</h1><p>The manual has no such page.</p>")
	return m, err
}

func fill(here Entry, nav []Entry, body string) ([]byte, error) {
	marked := slices.Clone(nav)
	for i := range marked {
		marked[i].Here = marked[i].Name == here.Name
	}
	var out bytes.Buffer
	// The body is our own Markdown, rendered without raw HTML.
	err := frame.Execute(&out, struct {
		Title string
		Nav   []Entry
		Body  template.HTML
	}{here.Title, marked, template.HTML(body)}) //nolint:gosec // see above
	if err != nil {
		return nil, fmt.Errorf("fill %s: %w", here.Name, err)
	}
	return out.Bytes(), nil
}

func title(name string, src []byte) string {
	for line := range strings.Lines(string(src)) {
		if t, ok := strings.CutPrefix(line, "# "); ok {
			return strings.TrimSpace(t)
		}
	}
	return name
}

func link(name string) string {
	if name == "index" {
		return "/docs"
	}
	return "/docs/" + name
}

// links makes [x](other.md#part) work both in a file viewer and on the served pages.
type links struct{}

func (links) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	// Walk fails only when the function does, and this one does not.
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if p, ok := n.(*ast.Image); ok && entering && !bytes.ContainsAny(p.Destination, ":/") {
			p.Destination = append([]byte("/docs/"), p.Destination...)
		}
		if l, ok := n.(*ast.Link); ok && entering {
			file, part, _ := strings.Cut(string(l.Destination), "#")
			if name, ok := strings.CutSuffix(file, ".md"); ok && !strings.ContainsAny(name, ":/") {
				dest := link(name)
				if part != "" {
					dest += "#" + part
				}
				l.Destination = []byte(dest)
			}
		}
		return ast.WalkContinue, nil
	})
}
