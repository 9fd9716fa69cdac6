package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/signature"
	"github.com/millrace/millrace/sandbox"
)

const (
	maxJSON = 1 << 20 // bytes of a schema, and of all extra fields
	maxLine = 1 << 10 // bytes of a summary, tag, ...
)

const opCreate = "script.create"

// complete returns a checked copy of s with everything filled in that can be told from the source.
func (c *Catalog) complete(p engine.Principal, ws string, s *engine.Script) (*engine.Script, error) {
	n := *s
	n.Workspace, n.CreatedBy = ws, p.Username
	n.Hash, n.Parents, n.Archived, n.Deleted, n.LockError = 0, nil, false, false, ""
	if n.Kind == "" {
		n.Kind = "script"
	}
	if err := checkPath(opCreate, n.Path); err != nil {
		return nil, err
	}
	entry, err := c.language(n.Language, n.Path)
	if err != nil {
		return nil, err
	}
	if err := c.checkFields(&n); err != nil {
		return nil, err
	}
	if noSchema(n.Schema) {
		sig, err := entry.Parse(n.Content)
		if err != nil {
			return nil, parseError(n.Path, err)
		}
		n.Schema = signature.Schema(sig)
	}
	noticePreprocessor(entry, &n)
	if n.Lock == nil {
		n.Lock = needsNothing(entry, &n)
	}
	return &n, nil
}

// noticePreprocessor keeps with a script whether it has a preprocessor, whatever was sent.
func noticePreprocessor(entry *runtimes.Entry, n *engine.Script) {
	n.Options.Preprocessor = false
	if strings.Contains(n.Content, "preprocessor") {
		sig, err := entry.Parse(n.Content) // a source that is wrong has none
		n.Options.Preprocessor = err == nil && sig.HasPreprocessor
	}
	if _, sent := n.Extra["has_preprocessor"]; sent || n.Options.Preprocessor {
		n.Extra = maps.Clone(n.Extra)
		if n.Extra == nil {
			n.Extra = map[string]json.RawMessage{}
		}
		if delete(n.Extra, "has_preprocessor"); n.Options.Preprocessor {
			n.Extra["has_preprocessor"] = json.RawMessage("true")
		}
	}
}

func checkPath(op, path string) error {
	if err := engine.CheckPath(op, path); err != nil {
		return err
	}
	for _, part := range strings.Split(path, "/") {
		if part == "." || part == ".." { // paths become file names in exports
			return &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: "a part of the path is only dots"}
		}
	}
	return nil
}

func (c *Catalog) language(name, path string) (*runtimes.Entry, error) {
	if e, ok := c.cfg.Registry.Get(name); ok {
		return e, nil
	}
	var known []string
	for _, e := range c.cfg.Registry.All() {
		known = append(known, e.Info().Name)
	}
	msg := fmt.Sprintf("%q is not a language of this server", name)
	if name == "" {
		msg = "no language is given"
	}
	return nil, &engine.Error{Code: engine.Invalid, Op: opCreate, Path: path, Msg: msg, Hint: "it has " + strings.Join(known, ", ")}
}

func (c *Catalog) checkFields(n *engine.Script) error {
	invalid := func(code engine.Code, format string, args ...any) error {
		return &engine.Error{Code: code, Op: opCreate, Path: n.Path, Msg: fmt.Sprintf(format, args...)}
	}
	if len(n.Content) > c.cfg.MaxContent {
		return invalid(engine.TooLarge, "the source has %d bytes, %d are allowed", len(n.Content), c.cfg.MaxContent)
	}
	lock := ""
	if n.Lock != nil {
		lock = *n.Lock
	}
	for _, f := range []struct {
		name, text string
		limit      int
	}{
		{"content", n.Content, c.cfg.MaxContent}, {"lock", lock, 4 << 20}, {"description", n.Doc, 256 << 10}, {"summary", n.Summary, maxLine},
		{"tag", n.Tag, 255}, {"kind", n.Kind, 64}, {"deployment_message", n.Message, 16 << 10},
	} {
		if len(f.text) > f.limit {
			return invalid(engine.TooLarge, "%s has %d bytes, %d are allowed", f.name, len(f.text), f.limit)
		}
		if err := checkText(opCreate, f.name, f.text); err != nil {
			return err
		}
	}
	if n.Timeout < 0 {
		return invalid(engine.Invalid, "timeout is negative")
	}
	switch sandbox.Network(n.Network) {
	case "", sandbox.NetworkNone, sandbox.NetworkEgress, sandbox.NetworkHost:
	default:
		return invalid(engine.Invalid, "network %q is not one of none, egress, host", n.Network)
	}
	if err := checkDocuments(n); err != nil {
		return err
	}
	return n.Options.Limits.Within(c.cfg.MaxLimits)
}

// checkDocuments verifies that what is kept as JSON is JSON that the database takes.
func checkDocuments(n *engine.Script) error {
	err := checkStored(opCreate, n.Path, n.Schema, n.Extra)
	if err != nil {
		return err
	}
	if n.Options, err = engine.ParseOptions(n.Extra); err != nil {
		return err
	}
	if n.Options.Allow != nil && n.Network == string(sandbox.NetworkHost) {
		return &engine.Error{Code: engine.Invalid, Op: opCreate, Path: n.Path, Msg: "network_allow does not hold with network host", Hint: "use network egress"}
	}
	return nil
}

// checkStored verifies the schema and the further fields of a script or a flow.
func checkStored(op, path string, schema json.RawMessage, extra map[string]json.RawMessage) error {
	if !noSchema(schema) {
		v, err := decode(schema)
		if _, object := v.(map[string]any); err != nil || !object || len(schema) > maxJSON || !utf8.Valid(schema) {
			return &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: "schema is not a JSON object of at most 1 MiB"}
		}
	}
	size := 0
	for k, v := range extra {
		size += len(k) + len(v)
		if _, err := decode(v); err != nil || !utf8.Valid(v) || strings.ContainsRune(k, 0) || !utf8.ValidString(k) {
			return &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: fmt.Sprintf("field %q is not JSON", k)}
		}
	}
	if size > maxJSON {
		return &engine.Error{Code: engine.TooLarge, Op: op, Path: path, Msg: "its further fields have more than 1 MiB"}
	}
	return nil
}

// checkText refuses what a text column cannot hold.
func checkText(op, field, text string) error {
	if i := strings.IndexByte(text, 0); i >= 0 {
		return &engine.Error{Code: engine.Invalid, Op: op, Msg: fmt.Sprintf("%s holds a NUL character (at byte %d)", field, i)}
	}
	if !utf8.ValidString(text) {
		return &engine.Error{Code: engine.Invalid, Op: op, Msg: field + " is not UTF-8"}
	}
	return nil
}

// storable tells whether text can be in the database at all; nothing else can be found there.
func storable(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

// clean makes a message storable and bounded.
func clean(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
	if len(text) > 64<<10 {
		text = strings.ToValidUTF8(text[:64<<10], "") + "…"
	}
	if text == "" {
		text = "unknown error"
	}
	return text
}

// noSchema tells whether a schema says nothing at all.
func noSchema(j json.RawMessage) bool {
	b := bytes.TrimSpace(j)
	return len(b) == 0 || string(b) == "null" || len(b) < 8 && string(bytes.Join(bytes.Fields(b), nil)) == "{}"
}

func parseError(path string, err error) error {
	var s *runtimes.SourceError
	if errors.As(err, &s) {
		return &engine.Error{Code: engine.Invalid, Op: opCreate, Path: path, Msg: s.Error()}
	}
	return &engine.Error{Code: engine.Invalid, Op: opCreate, Path: path, Msg: "its signature cannot be read", Err: err}
}

// needsNothing returns the empty lock when the language itself says, without any work, that there is nothing to resolve.
func needsNothing(e *runtimes.Entry, n *engine.Script) *string {
	none := ""
	if e.Resolver == nil {
		return &none
	}
	if e.Err != nil {
		return nil // not installed here: another host may resolve it
	}
	network := sandbox.Network(n.Network)
	if network == "" {
		network = sandbox.NetworkHost
	}
	r, err := e.Resolver.Resolve(e.Host, runtimes.Program{Workspace: n.Workspace, Language: n.Language, Path: n.Path, Source: n.Content, Network: network})
	if err != nil || r != nil {
		return nil // an error is told by the dependency job, in its log
	}
	return &none
}

// decode reads JSON keeping numbers as they are written; there must be nothing behind the value.
func decode(j json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(j))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return v, nil
}
