// Package store is the only home of SQL and of the Postgres driver. Everything above it speaks Go values: a table has one
// file of methods on DB, one file in queries/ with its named statements, and its place in migrations/.
//
//	Open -> version check -> migrations (under an advisory lock) -> pools
//
// Connections come in four kinds, and nothing else opens one:
//
//	pool      ordinary work, the server's own settings, but jit=off and never less than synchronous_commit=on
//	quick     claims, log chunks, heartbeats, NOTIFY, looks at one job: synchronous_commit=off and pinned generic plans. What
//	          it writes may be lost by a crash of the server, and every caller must be able to bear that
//	JobWriter the one connection through which jobs are created and completed (group commit)
//	Listen    the one connection that LISTENs
package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Supported server versions, as server_version_num counts.
const (
	minServer = 150000
	maxServer = 189999
)

// Config says where the database is.
type Config struct {
	URL      string // postgres:// URL or key=value string
	Log      zerolog.Logger
	MaxConns int32 // of the ordinary pool; zero: 10
	// SkipMigrate opens a database that is already at this binary's version without looking.
	SkipMigrate bool
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	cfg    Config
	log    zerolog.Logger
	pool   *pgxpool.Pool
	quick  *pgxpool.Pool
	hub    *hub
	specs  specs
	server int
}

// pinned are the settings of hot connections: one bad plan costs a hundred times a good one.
var pinned = map[string]string{
	"plan_cache_mode":   "force_generic_plan",
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off", // it reads all of an index's range, even when a LIMIT asks for a few rows of it
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
}

// Open connects, checks the server's version, brings the schema up to date and returns the database.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 10
	}
	db := &DB{cfg: cfg, log: cfg.Log}
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	baseParams(&pc.ConnConfig.Config)
	if err := db.look(ctx, pc.ConnConfig); err != nil {
		return nil, err
	}
	pc.MaxConns, pc.AfterConnect = cfg.MaxConns, durable
	if db.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if !cfg.SkipMigrate {
		if err := db.migrate(ctx, migrations); err != nil {
			db.pool.Close()
			return nil, err
		}
	}
	qc := pc.Copy()
	for k, v := range pinned {
		qc.ConnConfig.RuntimeParams[k] = v
	}
	qc.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	qc.MaxConns, qc.AfterConnect = 4, nil
	if db.quick, err = pgxpool.NewWithConfig(ctx, qc); err != nil {
		db.pool.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.hub = newHub(db)
	return db, nil
}

// durable has a connection commit durably whatever the server's default: bulk pushes are promised as much as single ones. A
// stricter setting is kept.
func durable(ctx context.Context, c *pgx.Conn) error {
	_, err := c.PgConn().Exec(ctx, q("DurableCommit")).ReadAll()
	return err
}

// Close ends all connections; it waits for those in use.
func (db *DB) Close() {
	db.hub.close()
	db.quick.Close()
	db.pool.Close()
}

// lost has the pools connect anew: when the listening connection ends, which is always open, the server is most likely gone, and each of
// their connections would fail whoever takes it.
func (db *DB) lost() {
	db.quick.Reset()
	db.pool.Reset()
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// ServerVersion is server_version_num of the server, such as 150018.
func (db *DB) ServerVersion() int { return db.server }

// look asks the server what it is, and has further connections compress large values by lz4 where it can: its own default takes
// 3 ms for 100 KB, half of what a run with so much in and out takes in all.
func (db *DB) look(ctx context.Context, cfg *pgx.ConnConfig) error {
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer c.Close(ctx) //nolint:errcheck // it has said what it was asked
	var name string
	var lz4 bool
	if err := c.QueryRow(ctx, q("ServerVersion")).Scan(&db.server, &name, &lz4); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if lz4 {
		cfg.RuntimeParams["default_toast_compression"] = "lz4"
	}
	return supported(db.server, name)
}

func supported(num int, name string) error {
	if num < minServer || num > maxServer {
		return fmt.Errorf("PostgreSQL %s is not supported: versions %d to %d are", name, minServer/10000, maxServer/10000)
	}
	return nil
}

func baseParams(c *pgconn.Config) {
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "millrace"
	}
	c.RuntimeParams["timezone"] = "UTC"
	c.RuntimeParams["idle_in_transaction_session_timeout"] = "60s"
	c.RuntimeParams["jit"] = "off" // seconds for a statement of milliseconds, once the hot table has been large
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
}

// Tx is a transaction as the methods of this package use it.
type Tx = pgx.Tx

// InTx runs fn in a transaction: committed when fn returns nil, rolled back otherwise.
func (db *DB) InTx(ctx context.Context, fn func(tx Tx) error) error {
	return pgx.BeginFunc(ctx, db.pool, fn)
}

// URL is the address the database was opened with. It may hold a password: not for logs.
func (db *DB) URL() string { return db.cfg.URL }

// Clock is the server's time, by which everything is judged that concerns several processes.
func (db *DB) Clock(ctx context.Context) (now time.Time, err error) {
	if err := db.pool.QueryRow(ctx, q("Clock")).Scan(&now); err != nil {
		return now, fmt.Errorf("read the server's clock: %w", err)
	}
	return now, nil
}
