package format

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func extension(language string) string { return "." + language }

func folder(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const inlineFlow = `summary: Two steps
value:
  modules:
    - id: a
      summary: Get Data!
      value:
        type: rawscript
        language: mock
        content: '!inline old.inline_script.mock'
        lock: '!inline old.lock'
    - id: b
      value:
        type: forloopflow
        iterator: {type: javascript, expr: results.a}
        modules:
          - id: c
            summary: Get Data!
            value: {type: rawscript, language: mock, content: !inline c.mock, lock: ''}
`

func TestFolder(t *testing.T) {
	files := map[string]string{"flow.yaml": inlineFlow, "old.inline_script.mock": "one\n\ttwo", "old.lock": "l", "c.mock": "three\r\n"}
	f, err := ReadFolder(folder(files))
	if err != nil {
		t.Fatal(err)
	}
	a := f.Value.Find("a").Value.(*RawScript)
	c := f.Value.Find("c").Value.(*RawScript)
	if a.Content != "one\n\ttwo" || a.Lock != "l" || c.Content != "three\n" || c.Lock != "" {
		t.Errorf("a %q %q, c %q %q", a.Content, a.Lock, c.Content, c.Lock)
	}
	if !strings.Contains(string(f.JSON()), `"content":"one\n\ttwo"`) {
		t.Errorf("the document of a flow from a folder holds the code: %s", f.JSON())
	}
	out, err := f.Folder(extension)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 4 || string(out["old.inline_script.mock"]) != "one\n\ttwo" || string(out["old.lock"]) != "l" || string(out["c.mock"]) != "three\n" {
		t.Errorf("files %q", out)
	}
	if text := string(out["flow.yaml"]); !strings.Contains(text, "content: '!inline old.inline_script.mock'") || strings.Contains(text, "two") {
		t.Errorf("document\n%s", text)
	}
	if a.Content != "one\n\ttwo" {
		t.Error("writing a folder changed the flow")
	}
}

func TestFolderNames(t *testing.T) {
	code := func(id, summary string) *Module {
		return &Module{ID: id, Summary: summary, Value: &RawScript{Language: "mock", Content: id, Lock: "lock " + id}}
	}
	f := &Flow{Value: Value{Modules: []*Module{code("a", "Get Data!"), code("b", "get data"), code("c", ""), code("../d", "漢字")}}}
	out, err := f.Folder(extension)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"get_data.mock": "a", "get_data_2.mock": "b", "c.mock": "c", "step.mock": "../d",
		"get_data.lock": "lock a", "get_data_2.lock": "lock b"} {
		if string(out[name]) != content {
			t.Errorf("%s holds %q, want %q", name, out[name], content)
		}
	}
	again, err := ReadFolder(folder(map[string]string{"flow.yaml": string(out["flow.yaml"]), "get_data.mock": "a", "get_data.lock": "",
		"get_data_2.mock": "b", "get_data_2.lock": "", "c.mock": "c", "c.lock": "", "step.mock": "d", "step.lock": ""}))
	if err != nil || again.Value.Modules[3].Value.(*RawScript).Content != "d" {
		t.Errorf("read again: %v", err)
	}
}

func TestFolderProblems(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no document": {map[string]string{"a.mock": ""}, "no flow.yaml, flow.yml, flow.json in the folder"},
		"no file":     {map[string]string{"flow.yaml": inlineFlow, "c.mock": ""}, `line 9, column 18: module "a": value.content: there is no file "old.inline_script.mock"`},
		"outside": {map[string]string{"flow.yaml": strings.Replace(inlineFlow, "old.lock", "../../secret", 1), "old.inline_script.mock": "", "c.mock": ""},
			`value.lock: "../../secret" is not the name of a file in this folder`},
		"absolute": {map[string]string{"flow.yaml": strings.Replace(inlineFlow, "old.lock", "/secret", 1), "old.inline_script.mock": "", "c.mock": ""},
			`"/secret" is not the name`},
		"broken": {map[string]string{"flow.json": "{"}, "flow.json: line 1, column 1: not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadFolder(folder(c.files))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
	if _, err := ReadFolder(folder(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that says so", err)
	}
	for name, want := range map[string]string{"f/x__flow": "f/x", "f/x.flow/": "f/x", "f/x": ""} {
		if got, ok := FolderPath(name); got != want || ok != (want != "") {
			t.Errorf("FolderPath(%q) = %q, %v", name, got, ok)
		}
	}
}
