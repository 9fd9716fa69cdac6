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
)

// Script is a version of a script as clients read it, with Windmill's field names. Further fields that a client sent
// come back as they were.
type Script struct {
	WorkspaceID   string          `json:"workspace_id"`
	Hash          string          `json:"hash"`
	Path          string          `json:"path"`
	ParentHashes  []string        `json:"parent_hashes"`
	Summary       string          `json:"summary"`
	Description   string          `json:"description"`
	Content       string          `json:"content,omitempty"`
	Language      string          `json:"language"`
	Kind          string          `json:"kind"`
	Schema        json.RawMessage `json:"schema,omitempty"`
	Lock          *string         `json:"lock,omitempty"`
	LockErrorLogs string          `json:"lock_error_logs,omitempty"`
	Tag           string          `json:"tag,omitempty"`
	Timeout       int64           `json:"timeout,omitempty" doc:"seconds"`
	Network       string          `json:"network,omitempty" doc:"none or host"`
	Archived      bool            `json:"archived"`
	Deleted       bool            `json:"deleted"`
	CreatedBy     string          `json:"created_by"`
	CreatedAt     time.Time       `json:"created_at"`
	DeploymentMsg string          `json:"deployment_msg,omitempty"`
	ErrorMuted    bool            `json:"ws_error_handler_muted"`
	IsTemplate    bool            `json:"is_template"`
	Starred       bool            `json:"starred"`
	ExtraPerms    struct{}        `json:"extra_perms"`
}

// NewScript is the body of a create.
type NewScript struct {
	Path        string          `json:"path"`
	Content     string          `json:"content"`
	Language    string          `json:"language"`
	Summary     string          `json:"summary,omitempty"`
	Description string          `json:"description,omitempty"`
	Kind        string          `json:"kind,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty" doc:"absent: read from the source"`
	Lock        *lockText       `json:"lock,omitempty" doc:"absent: dependencies are resolved; empty: there are none"`
	Tag         string          `json:"tag,omitempty"`
	Timeout     int64           `json:"timeout,omitempty" doc:"seconds"`
	Network     string          `json:"network,omitempty" doc:"none or host"`
	ParentHash  string          `json:"parent_hash,omitempty" doc:"the version that this one replaces"`
	AutoParent  bool            `json:"auto_parent,omitempty" doc:"replace whatever is newest"`
	Message     string          `json:"deployment_message,omitempty"`
}

// lockText is a lock as text or as a list of lines.
type lockText string

func (l *lockText) UnmarshalJSON(b []byte) error {
	var lines []string
	if json.Unmarshal(b, &lines) == nil && lines != nil {
		*l = lockText(strings.Join(lines, "\n"))
		return nil
	}
	return json.Unmarshal(b, (*string)(l))
}

// notExtra are the fields that are never kept as sent: those above, and those that tell the server what to do once.
var notExtra = func() map[string]bool {
	m := map[string]bool{"skip_draft_deletion": true, "preserve_on_behalf_of": true, "draft_only": true, "no_main_func": true}
	for _, t := range []reflect.Type{reflect.TypeFor[Script](), reflect.TypeFor[NewScript]()} {
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			m[name] = true
		}
	}
	delete(m, "ws_error_handler_muted") // kept, and only defaulted to false
	return m
}()

// readScript decodes a create. Fields that are null count as absent.
func readScript(body []byte, into *NewScript) (*engine.Script, error) {
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
	for k, v := range fields {
		if !notExtra[k] && string(v) != "null" {
			if s.Extra == nil {
				s.Extra = map[string]json.RawMessage{}
			}
			s.Extra[k] = bytes.Clone(v)
		}
	}
	return s, nil
}

// viewScript encodes a script; in lists without what can be large.
func viewScript(s *engine.Script, inList bool) (json.RawMessage, error) {
	v := Script{WorkspaceID: s.Workspace, Hash: s.Hash.String(), Path: s.Path, ParentHashes: []string{}, Summary: s.Summary,
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
	if err != nil || inList || len(s.Extra) == 0 {
		return b, err
	}
	// Appended one by one, in order: the core fields stay in front, and no two keys are the same.
	extra := s.Extra
	if muted, ok := extra["ws_error_handler_muted"]; ok {
		b = bytes.Replace(b, []byte(`"ws_error_handler_muted":false`), append([]byte(`"ws_error_handler_muted":`), muted...), 1)
	}
	b = b[:len(b)-1]
	for _, k := range slices.Sorted(maps.Keys(extra)) {
		if notExtra[k] || k == "ws_error_handler_muted" {
			continue
		}
		b = append(b, ',')
		b = append(b, quote(k)...)
		b = append(b, ':')
		b = append(b, extra[k]...)
	}
	return append(b, '}'), nil
}
