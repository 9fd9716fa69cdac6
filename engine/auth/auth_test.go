package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/auth"
	"github.com/millrace/millrace/engine/store/storetest"
)

var admin = engine.Principal{Username: "admin", Email: "admin@localhost", Admin: true, Via: "socket"}

func open(t *testing.T, url string, change func(*auth.Config)) *auth.Auth {
	t.Helper()
	uid := uint32(4711)
	cfg := auth.Config{DB: storetest.Open(t, url), Log: storetest.Log(t), DaemonUID: &uid, Remember: time.Hour}
	if change != nil {
		change(&cfg)
	}
	a, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

func want(t *testing.T, err error, code engine.Code, part string) {
	t.Helper()
	if engine.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want %s with %q", err, code, part)
	}
}

// eventually waits for news of another daemon, which come by NOTIFY.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-deadline:
			t.Fatal("did not happen: ", what)
		case <-tick.C:
		}
	}
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	a := open(t, storetest.URL(t), nil)
	good, _, err := a.Tokens().Create(t.Context(), admin, engine.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	job := a.JobToken(&engine.Job{ID: uuid.New(), Workspace: "main", PermissionedAs: "u/ann"})
	for _, s := range []string{"", "x", "mr_", "mrj_", good[:len(good)-1], good + "x", strings.ToUpper(good), good[:len(good)-1] + "\x00",
		job[:len(job)-1], job + "AA", "mrj_" + strings.Repeat("A", 200), "mrj_!", flip(job, 30), flip(job, len(job)-5)} {
		_, err := a.Authenticate(t.Context(), s)
		want(t, err, engine.Unauthorized, "no such token")
		if len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
	_, err = a.Socket(1234)
	want(t, err, engine.Unauthorized, "sudo")
}

// flip changes a bit of a job token's i-th character.
func flip(token string, i int) string {
	b := []byte(token)
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func TestSocket(t *testing.T) {
	t.Parallel()
	a := open(t, storetest.URL(t), nil)
	for _, uid := range []uint32{0, 4711} {
		p, err := a.Socket(uid)
		if err != nil || p != admin {
			t.Errorf("uid %d: %+v, %v", uid, p, err)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	a := open(t, storetest.URL(t), nil)
	past := time.Now().Add(-time.Minute)
	for _, c := range []struct {
		name string
		p    engine.Principal
		r    engine.TokenRequest
		code engine.Code
		part string
	}{
		{"nobody", engine.Principal{}, engine.TokenRequest{}, engine.Forbidden, "cannot make"},
		{"a job", engine.Principal{Username: "ann", Workspace: "main", Via: "job"}, engine.TokenRequest{}, engine.Forbidden, "cannot make"},
		{"from one workspace to another", engine.Principal{Username: "ann", Workspace: "main"}, engine.TokenRequest{Workspace: "admins"}, engine.Forbidden, "bound to workspace main"},
		{"into a workspace of others", engine.Principal{Username: "ann"}, engine.TokenRequest{Workspace: "main"}, engine.Forbidden, "not a member"},
		{"for no workspace", admin, engine.TokenRequest{Workspace: "nowhere"}, engine.NotFound, "no workspace nowhere"},
		{"for a bad name", admin, engine.TokenRequest{Workspace: "No!"}, engine.Invalid, "workspace id"},
		{"already over", admin, engine.TokenRequest{ExpiresAt: &past}, engine.Invalid, "in the past"},
		{"label with NUL", admin, engine.TokenRequest{Label: "a\x00"}, engine.Invalid, "label"},
		{"long label", admin, engine.TokenRequest{Label: strings.Repeat("a", 201)}, engine.Invalid, "label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secret, _, err := a.Tokens().Create(t.Context(), c.p, c.r)
			want(t, err, c.code, c.part)
			if secret != "" {
				t.Error("a secret came with the error")
			}
		})
	}
}

func TestTokenLife(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	a, b := open(t, url, nil), open(t, url, nil) // two daemons
	ctx := t.Context()
	secret, tok, err := a.Tokens().Create(ctx, admin, engine.TokenRequest{Label: "ci", Workspace: "main", Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, tok.Prefix) || len(secret) != 46 || tok.CreatedAt.IsZero() || !tok.Admin {
		t.Errorf("token %+v of %d characters", tok, len(secret))
	}
	for range 2 { // the second from memory
		p, err := b.Authenticate(ctx, secret)
		if err != nil || p != (engine.Principal{Username: "admin", Email: "admin@localhost", Admin: true, Workspace: "main", Via: "token"}) {
			t.Fatalf("principal %+v, %v", p, err)
		}
	}
	db := storetest.Open(t, url)
	eventually(t, "the use is noted", func() bool {
		list, err := db.TokenList(ctx, "")
		return err == nil && len(list) == 1 && list[0].LastUsed != nil
	})

	bound := engine.Principal{Username: "admin", Workspace: "main", Via: "token"}
	for who, n := range map[engine.Principal]int{admin: 1, bound: 1, {Username: "ann"}: 0, {Username: "admin", Workspace: "admins"}: 0} {
		if list, err := a.Tokens().List(ctx, who); err != nil || len(list) != n {
			t.Errorf("%+v sees %d tokens, %v; want %d", who, len(list), err, n)
		}
	}
	_, err = a.Tokens().List(ctx, engine.Principal{Username: "admin", Via: "job"})
	want(t, err, engine.Forbidden, "job")
	want(t, a.Tokens().Delete(ctx, engine.Principal{Username: "ann"}, tok.Prefix), engine.NotFound, "no token of yours")
	err = a.Tokens().Delete(ctx, admin, secret)
	want(t, err, engine.NotFound, "no token of yours")
	if strings.Contains(err.Error(), secret) {
		t.Error("the error repeats the secret")
	}

	if err := a.Tokens().Delete(ctx, admin, tok.Prefix); err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(ctx, secret)
	want(t, err, engine.Unauthorized, "no such token")
	eventually(t, "the other daemon forgets the token", func() bool {
		_, err := b.Authenticate(ctx, secret)
		return engine.CodeOf(err) == engine.Unauthorized
	})
}

func TestTokenNeverMoreThanItsMaker(t *testing.T) {
	t.Parallel()
	a := open(t, storetest.URL(t), nil)
	_, tok, err := a.Tokens().Create(t.Context(), engine.Principal{Username: "ann", Email: "ann@x", Workspace: "main", Via: "token"}, engine.TokenRequest{Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	if tok.Admin || tok.Workspace != "main" || tok.Username != "ann" {
		t.Errorf("token %+v", tok)
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	a := open(t, storetest.URL(t), nil)
	soon := time.Now().Add(300 * time.Millisecond)
	secret, _, err := a.Tokens().Create(t.Context(), admin, engine.TokenRequest{ExpiresAt: &soon})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), secret); err != nil && time.Now().Before(soon) {
		t.Fatal(err)
	}
	eventually(t, "the token expires though it is remembered", func() bool {
		_, err = a.Authenticate(t.Context(), secret)
		return err != nil
	})
	want(t, err, engine.Unauthorized, "expired")
}

func TestJobToken(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	a, b := open(t, url, nil), open(t, url, nil)
	j := &engine.Job{ID: engine.NewJobID(), Workspace: "main", CreatedBy: "bob", PermissionedAs: "u/ann", Email: "ann@example.com"}
	p, err := b.Authenticate(t.Context(), a.JobToken(j)) // the daemons of one database share the key
	if err != nil || p != (engine.Principal{Username: "ann", Email: "ann@example.com", Workspace: "main", Via: "job", JobID: j.ID.String()}) {
		t.Fatalf("principal %+v, %v", p, err)
	}
	if other := open(t, storetest.URL(t), nil); true {
		_, err := other.Authenticate(t.Context(), a.JobToken(j))
		want(t, err, engine.Unauthorized, "no such token") // another database, another key
	}
	j.PermissionedAs = "g/team"
	if p, err := a.Authenticate(t.Context(), a.JobToken(j)); err != nil || p.Username != "bob" {
		t.Errorf("a group's job asks as %+v, %v", p, err)
	}
	unstarted, err := auth.New(auth.Config{DB: storetest.Open(t, url)})
	if err != nil {
		t.Fatal(err)
	}
	if s := unstarted.JobToken(j); s != "" {
		t.Errorf("a token without a key: %q", s)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.JobToken(j), "mrj_"))
	if err != nil || len(raw) > 200 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestCan(t *testing.T) { // not parallel: it counts allocations
	a := open(t, storetest.URL(t), nil)
	ctx := t.Context()
	w := a.Workspaces()
	if err := w.Create(ctx, admin, engine.Workspace{ID: "lab"}); err != nil {
		t.Fatal(err)
	}
	for name, admins := range map[string]bool{"ann": false, "lea": true} {
		if err := a.People().SetMember(ctx, admin, engine.Member{Workspace: "lab", Username: name, Email: name + "@x", Admin: admins}); err != nil {
			t.Fatal(err)
		}
	}
	boundAdmin := engine.Principal{Username: "admin", Admin: true, Workspace: "lab", Via: "token"}
	ann, lea, max := engine.Principal{Username: "ann"}, engine.Principal{Username: "lea"}, engine.Principal{Username: "max"}
	bound := engine.Principal{Username: "max", Workspace: "lab", Via: "token"}
	job := engine.Principal{Username: "ann", Workspace: "lab", Via: "job", JobID: "x"}
	for _, c := range []struct {
		who            engine.Principal
		verb, ws, path string
		code           engine.Code // "": yes
	}{
		{engine.Principal{}, "read", "lab", "", engine.Unauthorized},
		{admin, "read", "nowhere", "", engine.NotFound},
		{max, "read", "lab", "u/max/x", engine.Forbidden},
		{max, "write", "lab", "u/max/x", engine.Forbidden},
		{ann, "write", "lab", "u/bob/x", engine.Forbidden},
		{ann, "write", "lab", "u/annie/x", engine.Forbidden},
		{ann, "write", "lab", "u/ann", engine.Forbidden},
		{ann, "write", "lab", "f/etl/x", engine.Forbidden},
		{ann, "write", "lab", "", engine.Forbidden},
		{ann, "admin", "lab", "", engine.Forbidden},
		{ann, "dance", "lab", "u/ann/x", engine.Forbidden},
		{ann, "read", "main", "", engine.Forbidden},
		{ann, "admin", "", "", engine.Forbidden},
		{lea, "read", "main", "", engine.Forbidden},
		{bound, "read", "main", "", engine.Forbidden},
		{bound, "write", "lab", "f/etl/x", engine.Forbidden},
		{boundAdmin, "read", "main", "", engine.Forbidden},
		{boundAdmin, "admin", "", "", engine.Forbidden},
		{job, "write", "lab", "u/ann/x", engine.Forbidden},
		{job, "admin", "lab", "", engine.Forbidden},
		{job, "read", "main", "", engine.Forbidden},
		{engine.Principal{Username: "admin", Admin: true, Workspace: "lab", Via: "job"}, "write", "lab", "f/x/y", engine.Forbidden},

		{admin, "admin", "", "", ""},
		{admin, "write", "lab", "f/etl/x", ""},
		{boundAdmin, "write", "lab", "f/etl/x", ""},
		{lea, "write", "lab", "u/ann/x", ""},
		{lea, "admin", "lab", "", ""},
		{ann, "read", "lab", "", ""},
		{ann, "run", "lab", "f/etl/x", ""},
		{ann, "run", "lab", "u/bob/x", ""},
		{ann, "write", "lab", "u/ann/x", ""},
		{bound, "run", "lab", "f/etl/x", ""},
		{bound, "write", "lab", "u/max/deep/x", ""},
		{job, "run", "lab", "f/etl/x", ""},
		{job, "read", "lab", "", ""},
	} {
		if got := engine.CodeOf(a.Can(c.who, c.verb, c.ws, c.path)); got != c.code {
			t.Errorf("%s (%s %s) %s %s %q: %q, want %q", c.who.Username, c.who.Via, c.who.Workspace, c.verb, c.ws, c.path, got, c.code)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = a.Can(ann, "run", "lab", "f/etl/x") }); n != 0 {
		t.Errorf("a yes costs %v allocations", n)
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	a, b := open(t, url, nil), open(t, url, nil)
	ctx, w, people := t.Context(), a.Workspaces(), a.People()
	want(t, w.Create(ctx, engine.Principal{Username: "ann"}, engine.Workspace{ID: "lab"}), engine.Forbidden, "administrators")
	want(t, w.Create(ctx, admin, engine.Workspace{ID: "Lab"}), engine.Invalid, "workspace id")
	want(t, w.Create(ctx, admin, engine.Workspace{ID: "main"}), engine.Conflict, "already")
	want(t, w.Create(ctx, admin, engine.Workspace{ID: "lab", Name: "\x00"}), engine.Invalid, "name")
	want(t, people.SetMember(ctx, admin, engine.Member{Workspace: "lab", Username: "ann", Admin: true}), engine.NotFound, "no workspace lab")
	if ok, err := w.Exists(ctx, "lab"); ok || err != nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	if err := w.Create(ctx, admin, engine.Workspace{ID: "lab"}); err != nil {
		t.Fatal(err)
	}
	want(t, people.SetMember(ctx, admin, engine.Member{Workspace: "lab", Username: "ann", Email: "a b"}), engine.Invalid, "email")
	want(t, people.SetMember(ctx, admin, engine.Member{Workspace: "lab", Username: "a/b", Admin: true}), engine.Invalid, "username")
	if err := people.SetMember(ctx, admin, engine.Member{Workspace: "lab", Username: "ann", Email: "ann@x"}); err != nil {
		t.Fatal(err)
	}
	ann := engine.Principal{Username: "ann"}
	eventually(t, "the other daemon knows the member", func() bool { return b.Can(ann, "read", "lab", "") == nil })
	list, err := w.List(ctx, ann)
	if err != nil || len(list) != 1 || list[0].ID != "lab" || list[0].Owner != admin.Email || list[0].Name != "lab" {
		t.Errorf("ann sees %+v, %v", list, err)
	}
	if list, err := w.List(ctx, admin); err != nil || len(list) != 3 {
		t.Errorf("the administrator sees %+v, %v", list, err)
	}
	if err := people.RemoveMember(ctx, admin, "lab", "ann"); err != nil {
		t.Fatal(err)
	}
	want(t, a.Can(ann, "read", "lab", ""), engine.Forbidden, "not a member")
	eventually(t, "the other daemon forgets the member", func() bool { return b.Can(ann, "read", "lab", "") != nil })
}

func TestStopUnstarted(t *testing.T) {
	t.Parallel()
	a, err := auth.New(auth.Config{DB: storetest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, a.Can(admin, "read", "main", ""), engine.NotFound, "main") // nobody is let in before Start
	a.Stop()
	a.Stop()
	if _, err := auth.New(auth.Config{}); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("without a database: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("start with an ended context: %v", err)
	}
}
