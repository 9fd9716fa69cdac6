package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

var migrations = mustMigrations(migrationFiles)

// migrateLock is the advisory lock under which one process at a time migrates ("millrace" as a number).
const migrateLock = 0x6d696c6c72616365

// migration is one forward step of the schema. Once released it never changes: its checksum is kept in the database.
type migration struct {
	number   int
	name     string
	checksum string
	sql      string
}

var migrationName = regexp.MustCompile(`^migrations/(\d{4})_([a-z0-9_]+)\.sql$`)

func mustMigrations(files fs.FS) []migration {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		panic(err)
	}
	var out []migration
	for i, file := range names { // Glob sorts
		m := migrationName.FindStringSubmatch(file)
		text, err := fs.ReadFile(files, file)
		if m == nil || err != nil {
			panic(fmt.Sprintf("store: %s is not a migration: %v", file, err))
		}
		number, _ := strconv.Atoi(m[1])
		if number != i+1 {
			panic(fmt.Sprintf("store: %s: migrations are numbered without gaps, this should be %04d", file, i+1))
		}
		sum := sha256.Sum256(text)
		out = append(out, migration{number, m[2], hex.EncodeToString(sum[:]), string(text)})
	}
	return out
}

// migrate applies what is missing of list, each step in a transaction of its own.
func (db *DB) migrate(ctx context.Context, list []migration) error {
	return db.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		if _, err := c.Exec(ctx, q("MigrationLock"), int64(migrateLock)); err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		defer c.Exec(context.WithoutCancel(ctx), q("MigrationUnlock"), int64(migrateLock)) //nolint:errcheck // ends with the session anyway
		if _, err := c.Exec(ctx, q("MigrationTable")); err != nil {
			return fmt.Errorf("create migration table: %w", err)
		}
		have, err := applied(ctx, c.Conn())
		if err != nil {
			return err
		}
		if err := compare(have, list); err != nil {
			return err
		}
		for _, m := range list[len(have):] {
			if err := apply(ctx, c.Conn(), m); err != nil {
				return err
			}
			db.log.Info().Int("number", m.number).Str("name", m.name).Msg("migration applied")
		}
		return nil
	})
}

func applied(ctx context.Context, c *pgx.Conn) ([]migration, error) {
	rows, err := c.Query(ctx, q("MigrationList"))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (m migration, err error) {
		err = r.Scan(&m.number, &m.name, &m.checksum)
		return m, err
	})
}

// compare checks that have, from the database, is a beginning of list, from the binary.
func compare(have, list []migration) error {
	if len(have) > len(list) {
		m := have[len(list)]
		return fmt.Errorf("the database is newer than this program: it has migration %04d_%s; install the newer version",
			m.number, m.name)
	}
	for i, m := range have {
		if m.number != list[i].number || m.name != list[i].name {
			return fmt.Errorf("migration %04d_%s of the database is %04d_%s in this program", m.number, m.name,
				list[i].number, list[i].name)
		}
		if m.checksum != list[i].checksum {
			return fmt.Errorf("migration %04d_%s was changed after it had been applied to this database", m.number, m.name)
		}
	}
	return nil
}

func apply(ctx context.Context, c *pgx.Conn, m migration) error {
	err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		// The simple protocol takes the whole file at once.
		if _, err := tx.Conn().PgConn().Exec(ctx, m.sql).ReadAll(); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, q("MigrationInsert"), m.number, m.name, m.checksum)
		return err
	})
	if err != nil {
		return fmt.Errorf("migration %04d_%s: %w", m.number, m.name, err)
	}
	return nil
}
