package catalog_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestCreateRefused(t *testing.T) {
	t.Parallel()
	c := open(t, storetest.URL(t))
	for _, tc := range []struct {
		name   string
		change func(s *engine.Script)
		code   engine.Code
		parts  []string
	}{
		{"path", func(s *engine.Script) { s.Path = "etl" }, engine.Invalid, []string{"not a valid path", "u/<user>/<name>"}},
		{"path of dots", func(s *engine.Script) { s.Path = "u/ann/../bob/x" }, engine.Invalid, []string{"only dots"}},
		{"language", func(s *engine.Script) { s.Language = "cobol" }, engine.Invalid, []string{`"cobol"`, "it has mock"}},
		{"no language", func(s *engine.Script) { s.Language = "" }, engine.Invalid, []string{"no language", "it has mock"}},
		{"syntax", func(s *engine.Script) { s.Content = "log a\nxyzzy" }, engine.Invalid, []string{"line 2"}},
		{"large source", func(s *engine.Script) { s.Content = strings.Repeat("\n", 1001) }, engine.TooLarge, []string{"1001", "1000"}},
		{"NUL", func(s *engine.Script) { s.Content = "log \x00" }, engine.Invalid, []string{"NUL", "content"}},
		{"not UTF-8", func(s *engine.Script) { s.Summary = "\xff" }, engine.Invalid, []string{"summary is not UTF-8"}},
		{"lock with NUL", func(s *engine.Script) { s.Lock = text("\x00") }, engine.Invalid, []string{"lock"}},
		{"long tag", func(s *engine.Script) { s.Tag = strings.Repeat("x", 256) }, engine.TooLarge, []string{"tag"}},
		{"timeout", func(s *engine.Script) { s.Timeout = -1 }, engine.Invalid, []string{"timeout"}},
		{"network", func(s *engine.Script) { s.Network = "lan" }, engine.Invalid, []string{"none, egress, host"}},
		{"allow-list", func(s *engine.Script) {
			s.Extra = map[string]json.RawMessage{"network_allow": json.RawMessage(`["example.org:443", "a b"]`)}
		}, engine.Invalid, []string{"network_allow", `"a b"`}},
		{"allow-list of the host's network", func(s *engine.Script) {
			s.Network, s.Extra = "host", map[string]json.RawMessage{"network_allow": json.RawMessage(`[]`)}
		}, engine.Invalid, []string{"network_allow", "egress"}},
		{"schema is no object", func(s *engine.Script) { s.Schema = json.RawMessage(`[1]`) }, engine.Invalid, []string{"schema"}},
		{"schema is no JSON", func(s *engine.Script) { s.Schema = json.RawMessage(`{"a":1}}`) }, engine.Invalid, []string{"schema"}},
		{"extra is no JSON", func(s *engine.Script) { s.Extra = map[string]json.RawMessage{"labels": json.RawMessage(`[`)} }, engine.Invalid, []string{`"labels"`}},
		{"large extra", func(s *engine.Script) {
			s.Extra = map[string]json.RawMessage{"modules": json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}
		}, engine.TooLarge, []string{"1 MiB"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := script("u/ann/etl", "return 1")
			tc.change(s)
			_, created, err := c.Create(t.Context(), ann, "main", s, engine.ScriptOptions{})
			want(t, err, tc.code, tc.parts...)
			if created {
				t.Error("created")
			}
		})
	}
	_, _, err := c.Create(t.Context(), ann, "nowhere", script("u/ann/etl", "return 1"), engine.ScriptOptions{})
	want(t, err, engine.NotFound, "no workspace nowhere")
}

func TestParents(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)), t.Context()
	stray := engine.Hash(12345)
	_, _, err := c.Create(ctx, ann, "main", script("u/ann/etl", "return 0"), engine.ScriptOptions{ParentHash: &stray})
	want(t, err, engine.Conflict, stray.String(), "leave parent_hash out")

	h1 := create(t, c, script("u/ann/etl", "return 1"), engine.ScriptOptions{})
	_, _, err = c.Create(ctx, ann, "main", script("u/ann/etl", "return 2"), engine.ScriptOptions{})
	want(t, err, engine.Conflict, "deployed there already", "parent_hash "+h1.String(), "auto_parent")
	_, _, err = c.Create(ctx, ann, "main", script("u/ann/etl", "return 2"), engine.ScriptOptions{ParentHash: &stray})
	want(t, err, engine.Conflict, "names no version of this path", h1.String())

	h2 := create(t, c, script("u/ann/etl", "return 2"), engine.ScriptOptions{ParentHash: &h1})
	_, _, err = c.Create(ctx, ann, "main", script("u/ann/etl", "return 3"), engine.ScriptOptions{ParentHash: &h1})
	want(t, err, engine.Conflict, "deployed again since", h2.String())

	h3 := create(t, c, script("u/ann/etl", "return 1"), engine.ScriptOptions{ParentHash: &h1, AutoParent: true}) // back to the first text
	if h3 == h1 {
		t.Error("a version that follows another has its hash")
	}
	s, err := c.Latest(ctx, "main", "u/ann/etl")
	if err != nil || s.Hash != h3 || !slices.Equal(s.Parents, []engine.Hash{h2, h1}) || s.CreatedBy != "ann" || s.Kind != "script" {
		t.Errorf("latest %+v, %v", s, err)
	}
	old, err := c.ByHash(ctx, "main", h1)
	if err != nil || old.Content != "return 1" || old.Archived {
		t.Errorf("old version %+v, %v", old, err)
	}
	list, err := c.History(ctx, "main", "u/ann/etl")
	if err != nil || len(list) != 3 || list[0].Hash != h3 || list[2].Hash != h1 {
		t.Errorf("history %+v, %v", list, err)
	}
	_, err = c.ByHash(ctx, "admins", h1) // the hash of another workspace
	want(t, err, engine.NotFound, "workspace admins")
}

func TestSkipIfNoop(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)), t.Context()
	base := func() *engine.Script {
		s := script("f/etl/load", "param n integer")
		s.Summary, s.Timeout = "loads", time.Minute
		s.Schema = json.RawMessage(`{"type": "object", "properties": {"n": {"type": "integer"}}, "required": []}`)
		s.Extra = map[string]json.RawMessage{"labels": json.RawMessage(`["a"]`), "cache_ttl": json.RawMessage(`60`)}
		return s
	}
	h := create(t, c, base(), engine.ScriptOptions{SkipIfNoop: true})
	for name, tc := range map[string]struct {
		change func(s *engine.Script)
		noop   bool
	}{
		"nothing": {func(*engine.Script) {}, true},
		"order of keys": {func(s *engine.Script) {
			s.Schema = json.RawMessage(`{"required":[],"properties":{"n":{"type":"integer"}},"type":"object"}`)
		}, true},
		"message":             {func(s *engine.Script) { s.Message = "again" }, true},
		"control fields":      {func(s *engine.Script) { s.Extra["auto_parent"] = json.RawMessage(`true`) }, true},
		"null field":          {func(s *engine.Script) { s.Extra["priority"] = json.RawMessage(`null`) }, true},
		"the same lock":       {func(s *engine.Script) { s.Lock = text("") }, true},
		"content":             {func(s *engine.Script) { s.Content += "\n" }, false},
		"summary":             {func(s *engine.Script) { s.Summary = "" }, false},
		"schema":              {func(s *engine.Script) { s.Schema = json.RawMessage(`{"type":"object","order":[]}`) }, false},
		"field":               {func(s *engine.Script) { s.Extra["cache_ttl"] = json.RawMessage(`61`) }, false},
		"a further field":     {func(s *engine.Script) { s.Extra["priority"] = json.RawMessage(`1`) }, false},
		"another lock":        {func(s *engine.Script) { s.Lock = text("a==1") }, false},
		"timeout":             {func(s *engine.Script) { s.Timeout = 0 }, false},
		"network":             {func(s *engine.Script) { s.Network = "none" }, false},
		"tag":                 {func(s *engine.Script) { s.Tag = "gpu" }, false},
		"description":         {func(s *engine.Script) { s.Doc = "x" }, false},
		"moved to the schema": {func(s *engine.Script) { s.Schema = nil }, false},
	} {
		s := base()
		tc.change(s)
		got, created, err := c.Create(ctx, ann, "main", s, engine.ScriptOptions{SkipIfNoop: true, AutoParent: true})
		if err != nil || created == tc.noop || tc.noop && got != h {
			t.Errorf("%s: %s, created %v, %v", name, got, created, err)
		}
		if created { // back again
			h = create(t, c, base(), engine.ScriptOptions{AutoParent: true})
		}
	}
	s, err := c.Latest(ctx, "main", "f/etl/load")
	if err != nil || string(s.Schema) != string(base().Schema) || string(s.Extra["labels"]) != `["a"]` || s.Timeout != time.Minute {
		t.Errorf("what was sent is not what is read: %+v, %v", s, err)
	}
}

func TestSchemaAndLock(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)), t.Context()
	for i, tc := range []struct {
		content, schema string
		lock            *string
		wantSchema      string // a part of it
		wantLock        *string
	}{
		{"param n integer = 3", "", nil, `"order":["n"]`, text("")},
		{"param n integer = 3", "{ }", nil, `"default":3`, text("")},
		{"param n integer = 3", "null", nil, `"order":["n"]`, text("")},
		{"param n integer = 3", `{"type":"object"}`, nil, `{"type":"object"}`, text("")},
		{"require pandas", "", nil, `"properties":{}`, nil},
		{"require pandas", "", text(""), `"properties":{}`, text("")}, // "" says: needs nothing
		{"require pandas", "", text("pandas==1"), `"properties":{}`, text("pandas==1")},
		{"xyzzy", `{"type":"object"}`, nil, `{"type":"object"}`, text("")}, // who brings a schema is not held up by our parser
	} {
		s := script("u/ann/s"+string(rune('a'+i)), tc.content)
		s.Schema, s.Lock = json.RawMessage(tc.schema), tc.lock
		create(t, c, s, engine.ScriptOptions{})
		got, err := c.Latest(ctx, "main", s.Path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got.Schema), tc.wantSchema) {
			t.Errorf("%q %q: schema %s", tc.content, tc.schema, got.Schema)
		}
		if (got.Lock == nil) != (tc.wantLock == nil) || got.Lock != nil && *got.Lock != *tc.wantLock {
			t.Errorf("%q: lock %v", tc.content, got.Lock)
		}
		if s.Workspace != "" || s.Kind != "" || s.Hash != 0 {
			t.Errorf("the caller's script was changed: %+v", s)
		}
	}
}
