package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/millrace/millrace/engine"
)

var typeName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,100}$`)

// The marks of references.
const (
	varMark = "$var:"
	resMark = "$res:"
)

// Bounds of what one value may refer to: resources that name each other would never end.
const (
	deepest = 8
	mostRef = 500
	largest = 16 << 20
)

// Variable is the text of a variable for an expression of j, as JSON.
func (v *Values) Variable(ctx context.Context, j *engine.Job, path string) (json.RawMessage, error) {
	f := v.filler(ctx, as(j), j.Workspace)
	return f.variable(path)
}

// Resource is the value of a resource for an expression of j, its references followed.
func (v *Values) Resource(ctx context.Context, j *engine.Job, path string) (json.RawMessage, error) {
	f := v.filler(ctx, as(j), j.Workspace)
	return f.resource(path, 0)
}

// Fill follows the references in raw, which must be valid JSON, with the rights of the one that j runs as. What has none comes back
// as it is.
func (v *Values) Fill(ctx context.Context, j *engine.Job, raw json.RawMessage) (json.RawMessage, error) {
	f := v.filler(ctx, as(j), j.Workspace)
	return f.fill(raw, 0)
}

// ResourceValue is the value of a resource for p, its references followed.
func (v *Values) ResourceValue(ctx context.Context, p engine.Principal, ws, path string) (json.RawMessage, error) {
	f := v.filler(ctx, p, ws)
	return f.resource(path, 0)
}

func (v *Values) filler(ctx context.Context, p engine.Principal, ws string) *filler {
	return &filler{values: v, ctx: ctx, who: p, ws: ws}
}

// filler is one use of Fill.
type filler struct {
	values *Values
	ctx    context.Context
	who    engine.Principal
	ws     string
	refs   int
	size   int
}

func (f *filler) fill(raw json.RawMessage, depth int) (json.RawMessage, error) {
	if !bytes.Contains(raw, []byte(`"`+varMark)) && !bytes.Contains(raw, []byte(`"`+resMark)) {
		return raw, nil
	}
	var out []byte
	done := 0
	for i := 0; i < len(raw); i++ {
		if raw[i] != '"' {
			continue
		}
		end := endOfText(raw, i)
		token := raw[i:end]
		if isReference(token) && !isKey(raw[end:]) {
			value, err := f.reference(token, depth)
			if err != nil {
				return nil, err
			}
			out = append(append(out, raw[done:i]...), value...)
			done = end
		}
		i = end - 1
	}
	return append(out, raw[done:]...), nil
}

// endOfText is the index behind the text that begins at i.
func endOfText(raw []byte, i int) int {
	for i++; i < len(raw) && raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(raw))
}

func isReference(token []byte) bool {
	return bytes.HasPrefix(token[1:], []byte(varMark)) || bytes.HasPrefix(token[1:], []byte(resMark))
}

func isKey(rest []byte) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}

func (f *filler) reference(token []byte, depth int) (json.RawMessage, error) {
	var s string
	if err := json.Unmarshal(token, &s); err != nil {
		return nil, engine.Errorf(engine.Invalid, "value.fill", "a reference is not valid JSON")
	}
	if path, ok := strings.CutPrefix(s, varMark); ok {
		return f.variable(strings.TrimSpace(path))
	}
	return f.resource(strings.TrimSpace(s[len(resMark):]), depth)
}

// count bounds the work of one value.
func (f *filler) count(path string, n int) error {
	if f.refs++; f.refs > mostRef {
		return &engine.Error{Code: engine.Invalid, Op: "value.fill", Path: path, Msg: "the value refers to too many others"}
	}
	if f.size += n; f.size > largest {
		return &engine.Error{Code: engine.TooLarge, Op: "value.fill", Path: path, Msg: "the value is larger than 16 MB with what it refers to"}
	}
	return nil
}

func (f *filler) variable(path string) (json.RawMessage, error) {
	x, err := f.values.GetVariable(f.ctx, f.who, f.ws, path, Plain)
	if err != nil {
		return nil, err
	}
	if err := f.count(path, len(x.Value)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(x.Value); err != nil {
		return nil, failed("variable.get", "variable", path, err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func (f *filler) resource(path string, depth int) (json.RawMessage, error) {
	if depth >= deepest {
		return nil, &engine.Error{Code: engine.Invalid, Op: "value.fill", Path: path, Msg: "resources refer to each other too deeply, or in a circle"}
	}
	r, err := f.values.GetResource(f.ctx, f.who, f.ws, path)
	if err != nil {
		return nil, err
	}
	if err := f.count(path, len(r.Value)); err != nil {
		return nil, err
	}
	return f.fill(r.Value, depth+1)
}
