// Package storetest gives tests a real Postgres: one private server a test process, one private database a test, made from a
// migrated template. The server is stopped and its folder removed when the process ends, however it ends.
// MILLRACE_TEST_PG_BIN names the folder of the server's binaries; without it the newest installed version runs.
// MILLRACE_TEST_DATABASE_URL names a server to use instead; its user must be allowed to create databases.
package storetest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine/store"
)

const (
	envURL = "MILLRACE_TEST_DATABASE_URL"
	envBin = "MILLRACE_TEST_PG_BIN"
)

// New opens a fresh, migrated database that ends with the test. The test is skipped, with the reason, where there is no
// Postgres.
func New(t testing.TB) *store.DB {
	t.Helper()
	return Open(t, URL(t))
}

// Open opens the database at url once more, as another process would; it is closed with the test.
func Open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: url, Log: Log(t)})
	if err != nil {
		t.Fatalf("open test database: %v", err)
	}
	t.Cleanup(db.Close)
	return db
}

// URL makes a fresh, migrated database and returns its address.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, shared(t))
}

// Durable makes a database on a server of its own that does fsync, for benchmarks.
func Durable(t testing.TB) string {
	t.Helper()
	c, err := start(true)
	if err != nil {
		t.Fatalf("start postgres: %v", err)
	}
	if c == nil {
		t.Skip("no PostgreSQL server binaries here; install postgresql or set " + envURL)
	}
	t.Cleanup(c.stop)
	return database(t, c)
}

// Log is a logger that writes to the test's log.
func Log(t testing.TB) zerolog.Logger {
	return zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
}

var (
	once   sync.Once
	common *cluster
	failed error
	serial atomic.Int64
)

func shared(t testing.TB) *cluster {
	t.Helper()
	once.Do(func() {
		if url := os.Getenv(envURL); url != "" {
			common = &cluster{url: url}
			return
		}
		common, failed = start(false)
	})
	if failed != nil {
		t.Fatalf("start postgres: %v", failed)
	}
	if common == nil {
		t.Skip("no PostgreSQL server binaries here; install postgresql or set " + envURL)
	}
	return common
}

// database makes a database from the template of c, which is made at first need.
func database(t testing.TB, c *cluster) string {
	t.Helper()
	c.mu.Lock() // a template must have no other user while it is copied
	defer c.mu.Unlock()
	if c.template == "" {
		name := fmt.Sprintf("millrace_template_%d", os.Getpid())
		c.exec(t, "create database "+name)
		db, err := store.Open(context.Background(), store.Config{URL: c.address(t, name), Log: zerolog.Nop()})
		if err != nil {
			t.Fatalf("migrate test template: %v", err)
		}
		db.Close()
		c.template = name
	}
	name := fmt.Sprintf("millrace_test_%d_%d", os.Getpid(), serial.Add(1))
	c.exec(t, "create database "+name+" template "+c.template)
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.exec(t, "drop database if exists "+name+" with (force)")
	})
	return c.address(t, name)
}

func (c *cluster) exec(t testing.TB, sql string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		t.Fatalf("connect to test server: %v", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // a test's side connection
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// address is c.url with another database name.
func (c *cluster) address(t testing.TB, name string) string {
	t.Helper()
	if !strings.Contains(c.url, "://") {
		return c.url + " dbname=" + name
	}
	base, query, _ := strings.Cut(c.url, "?")
	scheme, rest, _ := strings.Cut(base, "://")
	host, _, _ := strings.Cut(rest, "/")
	url := scheme + "://" + host + "/" + name
	if query != "" {
		url += "?" + query
	}
	return url
}

// Admin runs a statement in the server's maintenance database.
func Admin(t testing.TB, sql string) {
	t.Helper()
	shared(t).exec(t, sql)
}

// AdminRow scans the one row that sql returns, in the server's maintenance database, into dest.
func AdminRow(t testing.TB, sql string, dest ...any) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), shared(t).url)
	if err != nil {
		t.Fatalf("connect to test server: %v", err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // a test's side connection
	if err := conn.QueryRow(context.Background(), sql).Scan(dest...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Exec runs a statement on a connection of its own to db's database.
func Exec(t testing.TB, db *store.DB, sql string) {
	t.Helper()
	conn := dial(t, db)
	defer conn.Close(context.Background()) //nolint:errcheck // a test's side connection
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Row scans the one row that sql returns into dest.
func Row(t testing.TB, db *store.DB, sql string, dest ...any) {
	t.Helper()
	conn := dial(t, db)
	defer conn.Close(context.Background()) //nolint:errcheck // a test's side connection
	if err := conn.QueryRow(context.Background(), sql).Scan(dest...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Name is the name of db's database.
func Name(t testing.TB, db *store.DB) (name string) {
	t.Helper()
	Row(t, db, "select current_database()", &name)
	return name
}

// Lock locks a table against everybody until release.
func Lock(t testing.TB, db *store.DB, table string) (release func()) {
	t.Helper()
	conn := dial(t, db)
	if _, err := conn.Exec(context.Background(), "begin; lock table "+table+" in access exclusive mode"); err != nil {
		t.Fatalf("lock %s: %v", table, err)
	}
	release = sync.OnceFunc(func() { conn.Close(context.Background()) }) //nolint:errcheck // ends the transaction either way
	t.Cleanup(release)
	return release
}

func dial(t testing.TB, db *store.DB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), db.URL())
	if err != nil {
		t.Fatalf("connect to test database: %v", err)
	}
	return conn
}
