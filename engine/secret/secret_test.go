package secret_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/auth"
	"github.com/millrace/millrace/engine/secret"
	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

var (
	admin = engine.Principal{Username: "admin", Email: "admin@localhost", Admin: true, Via: "socket"}
	ann   = engine.Principal{Username: "ann", Via: "token", Workspace: "main"}
	bob   = engine.Principal{Username: "bob", Via: "token", Workspace: "main"}
)

// keep opens the values of a database with a key.
func keep(t *testing.T, db *store.DB, key secret.Key) *secret.Values {
	t.Helper()
	gate, err := auth.New(auth.Config{DB: db, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := gate.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gate.Stop)
	if there, _ := gate.Workspaces().Exists(t.Context(), "main"); !there {
		if err := gate.Workspaces().Create(t.Context(), admin, engine.Workspace{ID: "main", Name: "main"}); err != nil {
			t.Fatal(err)
		}
	}
	v := secret.New(secret.Config{DB: db, Gate: gate, Key: key, Log: storetest.Log(t).Level(5)})
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

func want(t *testing.T, err error, code engine.Code, part string) {
	t.Helper()
	if engine.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want %s with %q", err, code, part)
	}
}

func makeVariable(t *testing.T, v *secret.Values, path, value string, isSecret bool) {
	t.Helper()
	if err := v.CreateVariable(t.Context(), admin, engine.Variable{Workspace: "main", Path: path, Value: value, IsSecret: isSecret}, false); err != nil {
		t.Fatal(err)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	v, ctx := keep(t, db, secret.Key{1}), t.Context()
	for _, text := range []string{"", "x", "exactly sixteen!", strings.Repeat("long ", 1000), `with "quotes" and ü`} {
		path := "f/a/v" + base64.RawURLEncoding.EncodeToString([]byte(text))[:min(8, len(text))]
		makeVariable(t, v, path, text, true)
		got, err := v.GetVariable(ctx, ann, "main", path, secret.Plain)
		if err != nil || got.Value != text {
			t.Errorf("%q came back as %q, %v", text, got.Value, err)
		}
		sealed, err := v.GetVariable(ctx, ann, "main", path, secret.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(sealed.Value)
		if err != nil || len(b)%16 != 0 || len(text) > 3 && strings.Contains(string(b), text) {
			t.Errorf("%q is stored as %q", text, sealed.Value)
		}
		if hidden, err := v.GetVariable(ctx, ann, "main", path, secret.Nothing); err != nil || hidden.Value != "" {
			t.Errorf("not shown: %q, %v", hidden.Value, err)
		}
		// What was sealed comes back to its own path, and to no other.
		again := engine.VariableChange{Value: &sealed.Value}
		if err := v.UpdateVariable(ctx, admin, "main", path, again, true); err != nil {
			t.Error(err)
		}
		err = v.CreateVariable(ctx, admin, engine.Variable{Workspace: "main", Path: path + "x", Value: sealed.Value, IsSecret: true}, true)
		want(t, err, engine.Invalid, "not encrypted by this server for this path")
	}
	var stored int
	storetest.Row(t, db, "select count(*) from variable where value like '%quotes%' or value like '%long%'", &stored)
	if stored != 0 {
		t.Errorf("%d secrets are stored in plain text", stored)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	v, ctx := keep(t, storetest.New(t), secret.Key{1}), t.Context()
	makeVariable(t, v, "f/a/v", "one", false)
	yes, to, two := true, "f/b/w", "two"
	if err := v.UpdateVariable(ctx, admin, "main", "f/a/v", engine.VariableChange{IsSecret: &yes}, false); err != nil {
		t.Fatal(err)
	}
	if err := v.UpdateVariable(ctx, admin, "main", "f/a/v", engine.VariableChange{Path: &to}, false); err != nil {
		t.Fatal(err)
	}
	if got, err := v.GetVariable(ctx, ann, "main", to, secret.Plain); err != nil || got.Value != "one" || !got.IsSecret {
		t.Errorf("moved: %+v, %v", got, err)
	}
	if err := v.UpdateVariable(ctx, admin, "main", to, engine.VariableChange{Value: &two}, false); err != nil {
		t.Fatal(err)
	}
	if got, err := v.GetVariable(ctx, ann, "main", to, secret.Plain); err != nil || got.Value != "two" {
		t.Errorf("changed: %+v, %v", got, err)
	}
	makeVariable(t, v, "f/a/v", "other", false)
	taken := "f/a/v"
	want(t, v.UpdateVariable(ctx, admin, "main", to, engine.VariableChange{Path: &taken}, false), engine.Conflict, "at this path already")
	list, err := v.ListVariables(ctx, ann, "main", engine.ValueFilter{Limit: 10})
	if err != nil || len(list) != 2 || list[0].Value != "other" || list[1].Value != "" {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if err := v.DeleteVariable(ctx, admin, "main", to); err != nil {
		t.Fatal(err)
	}
	want(t, v.DeleteVariable(ctx, admin, "main", to), engine.NotFound, "no such variable")
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	v, ctx := keep(t, storetest.New(t), secret.Key{1}), t.Context()
	makeVariable(t, v, "u/bob/v", "bob's", true)
	makeVariable(t, v, "f/a/v", "all's", false)
	_, err := v.GetVariable(ctx, ann, "main", "u/bob/v", secret.Plain)
	want(t, err, engine.Forbidden, "ann may not read u/bob/v")
	_, err = v.Fill(ctx, &engine.Job{Workspace: "main", PermissionedAs: "u/ann"}, json.RawMessage(`{"x":"$var:u/bob/v"}`))
	want(t, err, engine.Forbidden, "ann may not read u/bob/v")
	if list, err := v.ListVariables(ctx, ann, "main", engine.ValueFilter{Limit: 10}); err != nil || len(list) != 1 {
		t.Errorf("listed for ann: %+v, %v", list, err)
	}
	for _, p := range []engine.Principal{admin, bob, {Username: "bob", Via: "job", Workspace: "main"}} {
		if got, err := v.GetVariable(ctx, p, "main", "u/bob/v", secret.Plain); err != nil || got.Value != "bob's" {
			t.Errorf("%s by %s: %v", p.Username, p.Via, err)
		}
	}
	change := engine.VariableChange{Value: new(string)}
	want(t, v.UpdateVariable(ctx, ann, "main", "f/a/v", change, false), engine.Forbidden, "ann may not write")
	state := engine.Resource{Workspace: "main", Path: "u/bob/state", Type: "state", Value: json.RawMessage("1")}
	if err := v.CreateResource(ctx, engine.Principal{Username: "bob", Via: "job", Workspace: "main"}, state, false); err != nil {
		t.Errorf("a job keeps its user's state: %v", err)
	}
	want(t, v.CreateResource(ctx, engine.Principal{Username: "ann", Via: "job", Workspace: "main"}, state, true), engine.Forbidden, "ann may not write")
}

func TestFill(t *testing.T) {
	t.Parallel()
	v, ctx := keep(t, storetest.New(t), secret.Key{1}), t.Context()
	makeVariable(t, v, "f/a/v", `say "hi" <b>`, true)
	for path, value := range map[string]string{"f/a/r": `{"pw":"$var:f/a/v","n":1.0,"deep":["$res:f/a/s"]}`, "f/a/s": `[10000000000000000001]`,
		"f/a/self": `["$res:f/a/self"]`} {
		r := engine.Resource{Workspace: "main", Path: path, Type: "x", Value: json.RawMessage(value)}
		if err := v.CreateResource(ctx, admin, r, false); err != nil {
			t.Fatal(err)
		}
	}
	j := &engine.Job{Workspace: "main", PermissionedAs: "u/ann"}
	for in, out := range map[string]string{
		`{"a":"$var:f/a/v","b":"x $var:f/a/v"}`:    `{"a":"say \"hi\" <b>","b":"x $var:f/a/v"}`,
		`{"r": "$res:f/a/r" }`:                     `{"r": {"pw":"say \"hi\" <b>","n":1.0,"deep":[[10000000000000000001]]} }`,
		`{"$var:f/a/v" : "key", "q":"\"$var:f/x"}`: `{"$var:f/a/v" : "key", "q":"\"$var:f/x"}`,
		`"$var:f/a/v"`:                             `"say \"hi\" <b>"`,
		`[1, 2]`:                                   `[1, 2]`,
	} {
		if got, err := v.Fill(ctx, j, json.RawMessage(in)); err != nil || string(got) != out {
			t.Errorf("%s became %s, %v\nwanted %s", in, got, err, out)
		}
	}
	for in, part := range map[string]string{`["$var:f/a/none"]`: "no such variable", `["$res:f/a/self"]`: "in a circle", `["$res:f/a/none"]`: "no such resource",
		`["$var:x"]`: "no such variable"} {
		if _, err := v.Fill(ctx, j, json.RawMessage(in)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, wanted %q", in, err, part)
		}
	}
}

func TestAnotherKey(t *testing.T) {
	t.Parallel()
	db, ctx := storetest.New(t), t.Context()
	v := keep(t, db, secret.Key{1})
	makeVariable(t, v, "f/a/secret", "s", true)
	makeVariable(t, v, "f/a/open", "o", false)
	other := keep(t, db, secret.Key{2})
	_, err := other.GetVariable(ctx, ann, "main", "f/a/secret", secret.Plain)
	want(t, err, engine.Unavailable, "--secret-key-file")
	err = other.CreateVariable(ctx, admin, engine.Variable{Workspace: "main", Path: "f/a/new", IsSecret: true}, false)
	want(t, err, engine.Unavailable, "--secret-key-file")
	if got, err := other.GetVariable(ctx, ann, "main", "f/a/open", secret.Plain); err != nil || got.Value != "o" {
		t.Errorf("what is no secret: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	k, err := secret.LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := secret.LoadKey(path); err != nil || again != k || k == (secret.Key{}) {
		t.Errorf("read again: %v", err)
	}
	if s, err := os.Stat(path); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", s.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".secret*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.LoadKey(path); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") || strings.Contains(err.Error(), "short") {
		t.Errorf("a wrong file: %v", err)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	v, ctx := keep(t, storetest.New(t), secret.Key{1}), t.Context()
	x := engine.ResourceType{Workspace: "main", Name: "c_pg", Schema: json.RawMessage(`{"type":"object"}`)}
	want(t, v.PutType(ctx, ann, x, false), engine.Forbidden, "ann may not")
	if err := v.PutType(ctx, admin, x, false); err != nil {
		t.Fatal(err)
	}
	want(t, v.PutType(ctx, admin, x, false), engine.Conflict, "already")
	x.Description = "new"
	if err := v.PutType(ctx, admin, x, true); err != nil {
		t.Fatal(err)
	}
	if got, err := v.GetType(ctx, ann, "main", "c_pg"); err != nil || got.Description != "new" || string(got.Schema) != `{"type":"object"}` {
		t.Errorf("%+v, %v", got, err)
	}
	want(t, v.PutType(ctx, admin, engine.ResourceType{Workspace: "main", Name: "a/b"}, false), engine.Invalid, "not a valid name")
	if err := v.DeleteType(ctx, admin, "main", "c_pg"); err != nil {
		t.Fatal(err)
	}
	_, err := v.GetType(ctx, ann, "main", "c_pg")
	want(t, err, engine.NotFound, "no such resource type")
}
