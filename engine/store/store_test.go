package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	db := storetest.Open(t, url)
	if err := db.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	if db.ServerVersion() < 150000 {
		t.Fatalf("server version %d", db.ServerVersion())
	}
	storetest.Open(t, url)
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	_, err := store.Open(context.Background(), store.Config{URL: "postgres://nobody@/x?host=/nonexistent", Log: storetest.Log(t)})
	if err == nil || !store.IsUnavailable(err) {
		t.Fatalf("want unavailable, got %v", err)
	}
	_, err = store.Open(context.Background(), store.Config{URL: "postgres://%", Log: storetest.Log(t)})
	if err == nil || !strings.Contains(err.Error(), "database url") {
		t.Fatalf("want a complaint about the url, got %v", err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := storetest.URL(t)
	a, b := storetest.Open(t, url), storetest.Open(t, url)
	all, err := a.Listen(ctx, "fruit", nil)
	if err != nil {
		t.Fatal(err)
	}
	some, err := a.Listen(ctx, "fruit", func(p string) bool { return p == "pear" })
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.Listen(ctx, "vegetable", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"apple", "pear"} {
		if err := b.Notify(ctx, "fruit", p); err != nil {
			t.Fatal(err)
		}
	}
	if n := (<-all.C).Payload + (<-all.C).Payload; n != "applepear" {
		t.Fatalf("got %s", n)
	}
	if n := <-some.C; n.Payload != "pear" {
		t.Fatalf("got %+v", n)
	}
	if len(other.C) != 0 {
		t.Fatal("another channel's notification came")
	}
	all.Close()
	some.Close()
	if err := b.Notify(ctx, "vegetable", "leek"); err != nil {
		t.Fatal(err)
	}
	if n := <-other.C; n.Payload != "leek" {
		t.Fatalf("got %+v", n)
	}
}
