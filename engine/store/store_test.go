package store_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/pgserver"
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

// TestServerVersion says which server the tests run on, and that it is the one that was asked for. Where `make test/postgres`
// finds no newer one, this is what it counts as skipped.
func TestServerVersion(t *testing.T) {
	if missing := os.Getenv("MILLRACE_TEST_PG_MISSING"); missing != "" {
		t.Skip(missing)
	}
	db := storetest.New(t)
	major := db.ServerVersion() / 10000
	t.Logf("PostgreSQL %d.%d", major, db.ServerVersion()%10000)
	if major < pgserver.OldestMajor || major > pgserver.NewestMajor {
		t.Errorf("version %d is not among those that are supported", major)
	}
	bin := os.Getenv("MILLRACE_TEST_PG_BIN")
	if bin == "" {
		return
	}
	asked, err := pgserver.FindBinaries(t.Context(), bin, 0)
	if err != nil || asked.Major != major {
		t.Errorf("the tests run on version %d, not on that of %s: %d, %v", major, bin, asked.Major, err)
	}
}

// TestCompression: every connection compresses large values by what costs least, where the server has it.
func TestCompression(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, storetest.URL(t))
	want := "pglz"
	err := db.InTx(t.Context(), func(tx store.Tx) error {
		return tx.QueryRow(t.Context(), `select case when 'lz4' = any (enumvals) then 'lz4' else reset_val end
			from pg_settings where name = 'default_toast_compression'`).Scan(&want)
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind, ask := range store.Connections(db) {
		if got, err := ask(t.Context(), "default_toast_compression"); err != nil || got != want {
			t.Errorf("%s compresses by %s, want %s (%v)", kind, got, want, err)
		}
	}
}
