package store

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestParseQueries(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	if err := parseQueries("-- a file\n\n-- name: A\nselect 1;\n\n-- name: B\n-- why\nselect 2\n", got); err != nil {
		t.Fatal(err)
	}
	if got["A"] != "select 1" || got["B"] != "-- why\nselect 2" {
		t.Fatalf("got %q", got)
	}
	for _, bad := range []string{"-- name: A\nselect 3", "-- name: C\n\n-- name: D\nselect 1", "-- name:\nselect 1"} {
		if err := parseQueries(bad, got); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMigrationsNumbered(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"0002_a.sql"}, {"0001_a.sql", "0001_b.sql"}, {"0001_a.sql", "0003_b.sql"}, {"one.sql"}} {
		files := fstest.MapFS{}
		for _, n := range names {
			files["migrations/"+n] = &fstest.MapFile{Data: []byte("select 1")}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was taken", names)
				}
			}()
			mustMigrations(files)
		}()
	}
}

func TestCompareMigrations(t *testing.T) {
	t.Parallel()
	a, b := migration{1, "a", "x", ""}, migration{2, "b", "y", ""}
	changed := migration{1, "a", "z", ""}
	other := migration{1, "other", "x", ""}
	for _, c := range []struct {
		have, list []migration
		want       string
	}{
		{nil, []migration{a, b}, ""},
		{[]migration{a}, []migration{a, b}, ""},
		{[]migration{a, b}, []migration{a}, "newer than this program"},
		{[]migration{changed}, []migration{a, b}, "was changed after"},
		{[]migration{other}, []migration{a, b}, "is 0001_a in this program"},
	} {
		err := compare(c.have, c.list)
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("compare(%v, %v) = %v, want %q", c.have, c.list, err, c.want)
		}
	}
}

func TestSupported(t *testing.T) {
	t.Parallel()
	for num, ok := range map[int]bool{140012: false, 150000: true, 180001: true, 190000: false} {
		if err := supported(num, "x"); (err == nil) != ok {
			t.Errorf("version %d: %v", num, err)
		}
	}
}

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{fmt.Errorf("x: %w", io.ErrUnexpectedEOF), true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "08006"}, true},
		{&pgconn.PgError{Code: "23505"}, false},
	} {
		if got := IsUnavailable(c.err); got != c.want {
			t.Errorf("IsUnavailable(%v) = %v", c.err, got)
		}
	}
}

// TestEndsWithSpec: lists find what did not succeed by the spec in its row of done.
func TestEndsWithSpec(t *testing.T) {
	ends := 0
	for name, sql := range queries {
		_, columns, ok := strings.Cut(sql, "insert into done (")
		if !ok {
			continue
		}
		ends++
		if columns, _, _ = strings.Cut(columns, ")"); !strings.HasSuffix(columns, " spec") {
			t.Errorf("%s ends jobs and does not say what they ran", name)
		}
	}
	if ends < 10 {
		t.Errorf("only %d statements end jobs", ends)
	}
}
