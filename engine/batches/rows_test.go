package batches

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/engine"
)

const schema = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},"height":{"type":["number","null"]},
	"member":{"type":"boolean"},"tags":{"type":"array"},"more":{"type":"object"},"any":{}}}`

// drain reads all rows of a source; at is the error that ended it, nil at the end.
func drain(s source) (rows []string, err error) {
	for {
		r, err := s.next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, string(r.args))
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		format engine.BatchFormat
		body   string
		schema string
		want   string // rows, joined with newlines
		err    string // part of the error
	}{
		"lines":                 {engine.BatchNDJSON, "{\"a\":1}\n{ \"b\" : 2 }\n", "", "{\"a\":1}\n{ \"b\" : 2 }", ""},
		"no newline at the end": {engine.BatchNDJSON, "{}\n{\"b\":2}", "", "{}\n{\"b\":2}", ""},
		"mark, CR, blank lines": {engine.BatchNDJSON, "\ufeff{}\r\n\n   \n{\"a\":1}\r\n", "", "{}\n{\"a\":1}", ""},
		"blank lines count":     {engine.BatchNDJSON, "{}\n\n\nx\n", "", "{}", "line 4: not valid JSON"},
		"cut line":              {engine.BatchNDJSON, "{}\n{\"a\":", "", "{}", "line 2: not valid JSON: unexpected end"},
		"no object":             {engine.BatchNDJSON, "[1]\n", "", "", "line 1: [1] is not a JSON object"},
		"not UTF-8":             {engine.BatchNDJSON, "{\"a\":\"\xff\"}\n", "", "", "line 1: not valid UTF-8"},
		"nothing":               {engine.BatchNDJSON, "", "", "", "the body is empty"},
		"too long":              {engine.BatchNDJSON, `{"a":"` + strings.Repeat("x", 200_000) + `"}`, "", "", "line 1: a row may have"},

		"array":             {engine.BatchArray, ` [ {"a":1} , {"b": [2]} ] `, "", "{\"a\":1}\n{\"b\": [2]}", ""},
		"empty array":       {engine.BatchArray, `[]`, "", "", ""},
		"no array":          {engine.BatchArray, `{"a":1}`, "", "", "not a JSON array"},
		"element no object": {engine.BatchArray, `[{}, 5]`, "", "{}", "element 2: 5 is not a JSON object"},
		"array cut":         {engine.BatchArray, `[{}, {"a"`, "", "{}", "element 2"},
		"array without end": {engine.BatchArray, `[{}`, "", "{}", "after element 1"},
		"array and more":    {engine.BatchArray, `[{}] [`, "", "{}", "after element 1: something follows"},
		"array of nothing":  {engine.BatchArray, ``, "", "", "the body is empty"},
		"array too long":    {engine.BatchArray, `[{"a":"` + strings.Repeat("x", 200_000) + `"}]`, "", "", "element 1: a row may have"},

		"table":             {engine.BatchCSV, "name,age\nann,7\n\"b, \"\"c\"\"\n\",-8\n", schema, "{\"name\":\"ann\",\"age\":7}\n{\"name\":\"b, \\\"c\\\"\\n\",\"age\":-8}", ""},
		"all types":         {engine.BatchCSV, "name,age,height,member,tags,more,any\n7,12345678901234567890,1e3,TRUE,[1],{},5\n", schema, `{"name":"7","age":12345678901234567890,"height":1e3,"member":true,"tags":[1],"more":{},"any":"5"}`, ""},
		"empty cells":       {engine.BatchCSV, "name,age,member\n,,\nann,,\n,3,\n", schema, "{}\n{\"name\":\"ann\"}\n{\"age\":3}", ""},
		"no schema":         {engine.BatchCSV, "x,y\n1,<a>\n", "", `{"x":"1","y":"<a>"}`, ""},
		"open schema":       {engine.BatchCSV, "age,x\n1,2\n", `{"properties":{"age":{"type":"integer"}},"additionalProperties":true}`, `{"age":1,"x":"2"}`, ""},
		"only the head":     {engine.BatchCSV, "name\n", schema, "", ""},
		"table mark":        {engine.BatchCSV, "\ufeffname\r\nann\r\n", schema, `{"name":"ann"}`, ""},
		"no integer":        {engine.BatchCSV, "name,age\nann,7\nben,7.5\n", schema, `{"name":"ann","age":7}`, `line 3, column 2 (age, character 5): "7.5" is not an integer`},
		"leading zero":      {engine.BatchCSV, "age\n007\n", schema, "", `"007" is not an integer`},
		"no number":         {engine.BatchCSV, "height\ntall\n", schema, "", `"tall" is not a number`},
		"no boolean":        {engine.BatchCSV, "member\nyes\n", schema, "", `"yes" is not true or false`},
		"no array cell":     {engine.BatchCSV, "tags\n{}\n", schema, "", `"{}" is not a JSON array`},
		"no object cell":    {engine.BatchCSV, "more\n\"{,}\"\n", schema, "", `"{,}" is not a JSON object`},
		"unknown argument":  {engine.BatchCSV, "nom\nann\n", schema, "", `line 1, column 1: the script has no argument "nom"; it has age, any,`},
		"argument twice":    {engine.BatchCSV, "name,name\na,b\n", schema, "", `"name" is there twice`},
		"nameless argument": {engine.BatchCSV, "name,\na,b\n", schema, "", "line 1, column 2: an argument needs a name"},
		"cells missing":     {engine.BatchCSV, "name,age\nann,7\nben\n", schema, `{"name":"ann","age":7}`, "line 3: it has another number of cells"},
		"bare quote":        {engine.BatchCSV, "name\na\"b\n", schema, "", "line 2, character"},
		"quote without end": {engine.BatchCSV, "name\n\"a" + strings.Repeat("x\n", 100_000), schema, "", "a row may have"},
		"cell not UTF-8":    {engine.BatchCSV, "name\n\xff\n", schema, "", "valid UTF-8"},
		"table of nothing":  {engine.BatchCSV, "", schema, "", "the body is empty"},
		"no format":         {"xml", "", "", "", "not a format"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(c.body), iotest.OneByteReader(strings.NewReader(c.body))} {
				s, err := newSource(c.format, r, json.RawMessage(c.schema), 64<<10)
				var rows []string
				if err == nil {
					rows, err = drain(s)
				}
				if got := strings.Join(rows, "\n"); got != c.want {
					t.Errorf("rows\n%s\nwant\n%s", got, c.want)
				}
				if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				for _, r := range rows {
					if !json.Valid([]byte(r)) {
						t.Errorf("%s is not JSON", r)
					}
				}
			}
		})
	}
}

// TestReadingFails: a reader that breaks is not a row that is wrong, whatever the decoder makes of the rest.
func TestReadingFails(t *testing.T) {
	t.Parallel()
	broke := errors.New("the line is dead")
	for format, body := range map[engine.BatchFormat]string{engine.BatchNDJSON: "{}\n{\"a\"", engine.BatchArray: `[{}, {"a"`, engine.BatchCSV: "a\n1\n\"b"} {
		s, err := newSource(format, io.MultiReader(strings.NewReader(body), iotest.ErrReader(broke)), nil, 1<<20)
		if err == nil {
			_, err = drain(s)
		}
		if !errors.Is(err, broke) {
			t.Errorf("%s: %v", format, err)
		}
	}
}
