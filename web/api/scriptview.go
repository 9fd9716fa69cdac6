package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// notExtra are the fields that are never kept as sent: those above, and those that tell the server what to do once.
var notExtra = func() map[string]bool {
	m := fieldsOf(wire.Script{}, wire.NewScript{})
	delete(m, "ws_error_handler_muted") // kept, and only defaulted to false
	return m
}()

// fieldsOf are the names of the fields of some shapes, and of those that say what to do once.
func fieldsOf(shapes ...any) map[string]bool {
	m := map[string]bool{"skip_draft_deletion": true, "preserve_on_behalf_of": true, "draft_only": true, "no_main_func": true}
	for _, shape := range shapes {
		for f := range reflect.TypeOf(shape).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			m[name] = true
		}
	}
	return m
}

// extraOf are the fields that are kept as they were sent.
func extraOf(fields map[string]json.RawMessage, not map[string]bool) map[string]json.RawMessage {
	var extra map[string]json.RawMessage
	for k, v := range fields {
		if !not[k] && string(v) != "null" {
			if extra == nil {
				extra = map[string]json.RawMessage{}
			}
			extra[k] = bytes.Clone(v)
		}
	}
	return extra
}

// withExtra puts kept fields behind those of an encoded object, one by one, in order: the core fields stay in front, and no two keys
// are the same.
func withExtra(b json.RawMessage, extra map[string]json.RawMessage, not map[string]bool) json.RawMessage {
	if len(extra) == 0 {
		return b
	}
	b = b[:len(b)-1]
	for _, k := range slices.Sorted(maps.Keys(extra)) {
		if not[k] || k == "ws_error_handler_muted" { // the latter is a core field
			continue
		}
		b = append(b, ',')
		b = append(b, quote(k)...)
		b = append(b, ':')
		b = append(b, extra[k]...)
	}
	return append(b, '}')
}

// readScript decodes a create. Fields that are null count as absent.
func readScript(body []byte, into *wire.NewScript) (*engine.Script, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, invalid("the body is not a JSON object: %v", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, invalid("the body is not a script: %v", err)
	}
	s := &engine.Script{Path: into.Path, Content: into.Content, Language: into.Language, Summary: into.Summary,
		Doc: into.Description, Kind: into.Kind, Tag: into.Tag, Timeout: time.Duration(into.Timeout) * time.Second,
		Network: into.Network, Message: into.Message, Lock: (*string)(into.Lock)}
	switch {
	case s.Path == "" || s.Language == "":
		return nil, invalid("a script needs path, content and language")
	case into.Timeout < 0 || into.Timeout > maxTimeout:
		return nil, invalid("timeout must be from 0 to %d seconds", maxTimeout)
	}
	if err := engine.CheckPath("script.create", s.Path); err != nil {
		return nil, err
	}
	if s.Kind == "" {
		s.Kind = "script"
	}
	if schema := fields["schema"]; len(schema) > 0 && string(schema) != "null" {
		s.Schema = bytes.Clone(schema)
	}
	s.Extra = extraOf(fields, notExtra)
	return s, nil
}

// viewScript encodes a script; in lists without what can be large.
func viewScript(s *engine.Script, inList bool) (json.RawMessage, error) {
	v := wire.Script{WorkspaceID: s.Workspace, Hash: s.Hash.String(), Path: s.Path, ParentHashes: []string{}, Summary: s.Summary,
		Description: s.Doc, Language: s.Language, Kind: s.Kind, LockErrorLogs: s.LockError, Tag: s.Tag,
		Timeout: int64(s.Timeout / time.Second), Network: s.Network, Archived: s.Archived, Deleted: s.Deleted,
		CreatedBy: s.CreatedBy, CreatedAt: s.CreatedAt, DeploymentMsg: s.Message}
	for _, h := range s.Parents {
		v.ParentHashes = append(v.ParentHashes, h.String())
	}
	if !inList {
		v.Content, v.Schema, v.Lock = s.Content, s.Schema, s.Lock
	}
	b, err := encode(v)
	if err != nil || inList {
		return b, err
	}
	if muted, ok := s.Extra["ws_error_handler_muted"]; ok {
		b = bytes.Replace(b, []byte(`"ws_error_handler_muted":false`), append([]byte(`"ws_error_handler_muted":`), muted...), 1)
	}
	return withExtra(b, s.Extra, notExtra), nil
}
