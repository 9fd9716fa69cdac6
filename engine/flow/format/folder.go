package format

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"
)

// inlinePrefix begins a content that lies in a file of its own.
const inlinePrefix = "!inline "

// Names of the document in a folder, the usual one first.
var documents = []string{"flow.yaml", "flow.yml", "flow.json"}

// FolderPath returns the path of the flow that lies in a folder of that name: both "f/x__flow" and "f/x.flow" hold f/x.
func FolderPath(folder string) (flow string, ok bool) {
	for _, suffix := range []string{"__flow", ".flow"} {
		if flow, ok = strings.CutSuffix(strings.TrimSuffix(folder, "/"), suffix); ok {
			return flow, true
		}
	}
	return "", false
}

// ReadFolder reads the flow of a folder, with the code that lies beside it. Positions are those in the document. A file that a
// module names is looked for in the folder only.
func ReadFolder(folder fs.FS) (*Flow, error) {
	src, name, err := document(folder)
	if err != nil {
		return nil, err
	}
	f, err := Parse(src)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	f.Value.Walk(func(m *Module, _ Place) bool {
		b, ok := m.Value.(*RawScript)
		if !ok {
			return true
		}
		inline := func(field string, text, file *string) {
			content, name, problem := readInline(folder, *text)
			if problem != "" {
				problems = append(problems, Problem{Module: m.ID, Field: "value." + field, Pos: b.At(field), Msg: problem,
					Hint: "put the file beside the document"})
			} else if name != "" {
				*text, *file = content, name
			}
		}
		inline("content", &b.Content, &b.file)
		inline("lock", &b.Lock, &b.lockFile)
		return true
	})
	if len(problems) > 0 {
		return f, fmt.Errorf("%s: %w", name, problems)
	}
	return f, nil
}

func document(folder fs.FS) (src []byte, name string, err error) {
	for _, name := range documents {
		src, err := fs.ReadFile(folder, name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return src, name, err
		}
	}
	return nil, "", fmt.Errorf("read flow: no %s in the folder: %w", strings.Join(documents, ", "), fs.ErrNotExist)
}

// readInline returns the content of the file that text names, and its name; "" when it names none.
func readInline(folder fs.FS, text string) (content, name, problem string) {
	name, ok := strings.CutPrefix(text, inlinePrefix)
	if !ok || strings.Contains(name, "\n") {
		return "", "", ""
	}
	name = strings.TrimPrefix(strings.TrimSpace(name), "./")
	if !fs.ValidPath(name) || name == "." {
		return "", "", fmt.Sprintf("%q is not the name of a file in this folder", name)
	}
	src, err := fs.ReadFile(folder, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", fmt.Sprintf("there is no file %q", name)
	case err != nil:
		return "", "", err.Error()
	}
	return strings.ReplaceAll(string(src), "\r\n", "\n"), name, ""
}

// Folder writes the flow as files by name: flow.yaml, and the code and lock of each step in files of their own. They keep the
// names under which they were read; otherwise they are called after the step's summary, or its id. extension gives the ending
// for a language, such as ".py".
func (f *Flow) Folder(extension func(language string) string) (map[string][]byte, error) {
	w := folderWriter{files: map[string][]byte{}, extension: extension}
	restore := w.takeOut(f)
	defer restore()
	src, err := f.YAML()
	if err != nil {
		return nil, err
	}
	w.files[documents[0]] = src
	return w.files, nil
}

type folderWriter struct {
	files     map[string][]byte
	extension func(language string) string
}

// takeOut moves code into files and leaves its name in the flow, until restore is called.
func (w *folderWriter) takeOut(f *Flow) (restore func()) {
	var undo []func()
	put := func(text *string, file, wanted string) {
		name := file
		if _, taken := w.files[name]; name == "" || taken || !fs.ValidPath(name) || isDocument(name) {
			name = w.free(wanted)
		}
		content := *text
		w.files[name] = []byte(content)
		*text = inlinePrefix + name
		undo = append(undo, func() { *text = content })
	}
	f.Value.Walk(func(m *Module, _ Place) bool {
		b, ok := m.Value.(*RawScript)
		if !ok {
			return true
		}
		stem := fileStem(m)
		put(&b.Content, b.file, stem+w.extension(b.Language))
		if b.Lock != "" {
			put(&b.Lock, b.lockFile, stem+".lock")
		}
		return true
	})
	return func() {
		for _, fn := range undo {
			fn()
		}
	}
}

// free returns the name, or the name with a number, under which there is no file yet.
func (w *folderWriter) free(name string) string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for i := 2; ; i++ {
		if _, taken := w.files[name]; !taken && !isDocument(name) {
			return name
		}
		name = fmt.Sprintf("%s_%d%s", stem, i, ext)
	}
}

func isDocument(name string) bool {
	for _, d := range documents {
		if name == d {
			return true
		}
	}
	return false
}

// fileStem is the summary of a module as a file name, or its id.
func fileStem(m *Module) string {
	stem := strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '_' || r == '-':
			return '_'
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(m.Summary))
	if stem = strings.Trim(stem, "_"); stem == "" || len(stem) > 100 {
		stem = m.ID
	}
	if stem == "" || strings.ContainsAny(stem, "/\\") || stem[0] == '.' {
		stem = "step"
	}
	return stem
}
