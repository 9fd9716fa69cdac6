package catalog_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/catalog"
	"github.com/millrace/millrace/engine/store/storetest"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/mock"
)

var ann = engine.Principal{Username: "ann"}

func open(t *testing.T, url string) *catalog.Catalog {
	t.Helper()
	reg := runtimes.NewRegistry()
	reg.Register(mock.New())
	c, err := catalog.New(catalog.Config{DB: storetest.Open(t, url), Registry: reg, Log: storetest.Log(t), MaxContent: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

func script(path, content string) *engine.Script {
	return &engine.Script{Path: path, Content: content, Language: "mock"}
}

func create(t *testing.T, c *catalog.Catalog, s *engine.Script, o engine.ScriptOptions) engine.Hash {
	t.Helper()
	h, created, err := c.Create(t.Context(), ann, "main", s, o)
	if err != nil || !created || h == 0 {
		t.Fatalf("create %s: %s, %v, %v", s.Path, h, created, err)
	}
	return h
}

func want(t *testing.T, err error, code engine.Code, parts ...string) {
	t.Helper()
	if engine.CodeOf(err) != code || err == nil {
		t.Errorf("error %v, want %s", err, code)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %v does not say %q", err, p)
		}
	}
}

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

func text(s string) *string { return &s }

func TestSetLock(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c, other, ctx := open(t, url), open(t, url), t.Context()
	h := create(t, c, script("u/ann/etl", "require pandas"), engine.ScriptOptions{})
	if s, err := other.ByHash(ctx, "main", h); err != nil || s.Lock != nil {
		t.Fatalf("fresh: %+v, %v", s, err)
	}
	want(t, c.SetLock(ctx, "main", 1, "x", ""), engine.NotFound, "no such script version")
	want(t, c.SetLock(ctx, "main", h, "\x00", ""), engine.Invalid, "NUL")
	if err := c.SetLock(ctx, "main", h, "", "no package \x00 pandas"); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Latest(ctx, "main", "u/ann/etl"); err != nil || s.Lock != nil || s.LockError != "no package  pandas" {
		t.Errorf("failed: %+v, %v", s, err)
	}
	if err := c.SetLock(ctx, "main", h, "pandas==1", ""); err != nil {
		t.Fatal(err)
	}
	if s, err := c.ByHash(ctx, "main", h); err != nil || s.Lock == nil || *s.Lock != "pandas==1" || s.LockError != "" {
		t.Errorf("resolved: %+v, %v", s, err)
	}
	eventually(t, "the other daemon sees the lock", func() bool {
		s, err := other.ByHash(ctx, "main", h)
		return err == nil && s.Lock != nil
	})
}

func TestArchiveAndDelete(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c, other, ctx := open(t, url), open(t, url), t.Context()
	const path = "u/ann/etl"
	want(t, c.Archive(ctx, "main", path), engine.NotFound, "no such script")
	want(t, c.Delete(ctx, "main", 7), engine.NotFound, "no such script version")
	h1 := create(t, c, script(path, "return 1"), engine.ScriptOptions{})
	if _, err := other.Latest(ctx, "main", path); err != nil {
		t.Fatal(err)
	}
	if err := c.Archive(ctx, "main", path); err != nil {
		t.Fatal(err)
	}
	_, err := c.Latest(ctx, "main", path)
	want(t, err, engine.NotFound, "no such script")
	eventually(t, "the other daemon forgets the script", func() bool {
		_, err := other.Latest(ctx, "main", path)
		return engine.CodeOf(err) == engine.NotFound
	})
	if ok, err := c.Exists(ctx, "main", path); ok || err != nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	if s, err := c.ByHash(ctx, "main", h1); err != nil || !s.Archived || s.Content != "return 1" {
		t.Errorf("queued jobs cannot find their version: %+v, %v", s, err)
	}
	archived, err := c.List(ctx, "main", engine.ScriptFilter{ShowArchived: true})
	if err != nil || len(archived) != 1 || archived[0].Hash != h1 {
		t.Errorf("archived: %+v, %v", archived, err)
	}

	h2 := create(t, c, script(path, "return 1"), engine.ScriptOptions{}) // the same again, without a parent
	if archived, err := c.List(ctx, "main", engine.ScriptFilter{ShowArchived: true}); err != nil || len(archived) != 0 || h2 == h1 {
		t.Errorf("archived: %+v, %v; hash %s", archived, err, h2)
	}
	if err := c.Delete(ctx, "main", h2); err != nil {
		t.Fatal(err)
	}
	want(t, c.Delete(ctx, "main", h2), engine.NotFound)
	_, err = c.ByHash(ctx, "main", h2)
	want(t, err, engine.NotFound, "was deleted")
	_, err = c.Latest(ctx, "main", path)
	want(t, err, engine.NotFound)
	list, err := c.History(ctx, "main", path)
	if err != nil || len(list) != 2 || !list[0].Deleted || list[1].Deleted {
		t.Errorf("history %+v, %v", list, err)
	}
	h3 := create(t, c, script(path, "return 1"), engine.ScriptOptions{})
	if s, err := c.Latest(ctx, "main", path); err != nil || s.Hash != h3 || !slices.Equal(s.Parents, []engine.Hash{h2, h1}) {
		t.Errorf("latest %+v, %v", s, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)), t.Context()
	for _, p := range []string{"f/a/1", "f/a/2", "f/b/1", "u/ann/1"} {
		create(t, c, script(p, "return 1"), engine.ScriptOptions{})
	}
	create(t, c, script("f/a/1", "return 2"), engine.ScriptOptions{AutoParent: true})
	for _, tc := range []struct {
		f    engine.ScriptFilter
		want string
	}{
		{engine.ScriptFilter{}, "f/a/1 u/ann/1 f/b/1 f/a/2"},
		{engine.ScriptFilter{PathStart: "f/a/"}, "f/a/1 f/a/2"},
		{engine.ScriptFilter{PathStart: "f/_/"}, ""}, // no pattern characters
		{engine.ScriptFilter{PathExact: "f/a/2"}, "f/a/2"},
		{engine.ScriptFilter{PathExact: "f/a"}, ""},
		{engine.ScriptFilter{CreatedBy: "bob"}, ""},
		{engine.ScriptFilter{CreatedBy: "ann", Language: "mock", PathStart: "u/"}, "u/ann/1"},
		{engine.ScriptFilter{Language: "bun"}, ""},
		{engine.ScriptFilter{PerPage: 3}, "f/a/1 u/ann/1 f/b/1"},
		{engine.ScriptFilter{PerPage: 3, Page: 2}, "f/a/2"},
		{engine.ScriptFilter{PerPage: 3, Page: 3}, ""},
	} {
		list, err := c.List(ctx, "main", tc.f)
		var got []string
		for _, s := range list {
			got = append(got, s.Path)
			if s.Content != "" || s.Hash == 0 || s.CreatedAt.IsZero() {
				t.Errorf("listed %+v", s)
			}
		}
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%+v: %v, %v; want %s", tc.f, got, err, tc.want)
		}
	}
}

func TestUnknownPath(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)), t.Context()
	_, err := c.Latest(ctx, "main", "u/ann/etl")
	want(t, err, engine.NotFound, "millrace script push")
	for _, p := range []string{"u/ann/etl", "u/ann/etl2", "f/jobs/report", "u/ann/etl33", "f/other/thing"} {
		create(t, c, script(p, "return 1"), engine.ScriptOptions{})
	}
	for path, hint := range map[string]string{
		"u/ann/elt":     "did you mean u/ann/etl, u/ann/etl2?",
		"u/bob/report":  "did you mean f/jobs/report?",
		"f/jobs/rePort": "did you mean f/jobs/report?",
		"u/zoe/nothing": "millrace script push",
	} {
		_, err := c.Latest(ctx, "main", path)
		names := strings.FieldsFunc(hint, func(r rune) bool { return strings.ContainsRune(" ,?", r) })
		want(t, err, engine.NotFound, names...)
	}
}

func TestImpossibleNames(t *testing.T) {
	t.Parallel()
	c, ctx := open(t, storetest.URL(t)), t.Context()
	for _, path := range []string{"u/ann/\x00", "u/ann/\xff", "", strings.Repeat("x", 10000)} {
		_, err := c.Latest(ctx, "main", path)
		want(t, err, engine.NotFound)
		_, err = c.History(ctx, "main", path)
		want(t, err, engine.NotFound)
		want(t, c.Archive(ctx, "main", path), engine.NotFound)
		if ok, err := c.Exists(ctx, "main", path); ok || err != nil {
			t.Errorf("exists %q: %v, %v", path, ok, err)
		}
		if list, err := c.List(ctx, "main", engine.ScriptFilter{PathStart: path + "x"}); len(list) > 0 || err != nil {
			t.Errorf("list %q: %v, %v", path, list, err)
		}
	}
}

func TestConcurrentDeployments(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	a, b := open(t, url), open(t, url)
	const n = 12
	var wg sync.WaitGroup
	for i := range n {
		c := []*catalog.Catalog{a, b}[i%2]
		wg.Go(func() {
			if _, created, err := c.Create(t.Context(), ann, "main", script("f/x/y", "return 1"), engine.ScriptOptions{AutoParent: true}); err != nil || !created {
				t.Errorf("%v, %v", created, err)
			}
			if _, err := c.Latest(t.Context(), "main", "f/x/y"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := a.History(t.Context(), "main", "f/x/y")
	if err != nil || len(list) != n || len(list[0].Parents) != n-1 {
		t.Fatalf("%d versions, %v", len(list), err)
	}
	for _, c := range []*catalog.Catalog{a, b} {
		eventually(t, "both daemons see the last version", func() bool {
			s, err := c.Latest(t.Context(), "main", "f/x/y")
			return err == nil && s.Hash == list[0].Hash
		})
	}
}

// TestHit is not parallel: it counts allocations.
func TestHit(t *testing.T) {
	c, ctx := open(t, storetest.URL(t)), t.Context()
	h := create(t, c, script("u/ann/etl", "return 1"), engine.ScriptOptions{})
	eventually(t, "the script is in memory", func() bool {
		first, err := c.Latest(ctx, "main", "u/ann/etl")
		second, _ := c.Latest(ctx, "main", "u/ann/etl")
		return err == nil && first == second
	})
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Latest(ctx, "main", "u/ann/etl"); err != nil {
			t.Error(err)
		}
		if _, err := c.ByHash(ctx, "main", h); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a hit costs %v allocations", n)
	}
}

func TestUnstarted(t *testing.T) {
	t.Parallel()
	if _, err := catalog.New(catalog.Config{}); engine.CodeOf(err) != engine.Invalid {
		t.Errorf("without a database: %v", err)
	}
	reg := runtimes.NewRegistry()
	reg.Register(mock.New())
	c, err := catalog.New(catalog.Config{DB: storetest.New(t), Registry: reg, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	create(t, c, script("u/ann/etl", "return 1"), engine.ScriptOptions{})
	first, err := c.Latest(t.Context(), "main", "u/ann/etl")
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := c.Latest(t.Context(), "main", "u/ann/etl"); first == second {
		t.Error("it remembers though it hears of no changes")
	}
	c.Stop()
	c.Stop()
}
