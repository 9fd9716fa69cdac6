package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/engine"
)

// GateEnd is a job that counted for a gate and does not any more.
type GateEnd struct {
	Job  uuid.UUID
	Gate int32
}

// GateBatch asks for admissions at gates whose places changed.
type GateBatch struct {
	Gates  []int32     // distinct
	Ends   []GateEnd   // jobs of those gates that are completed now
	Direct []uuid.UUID // waiting jobs that have a slot reserved at Worker
	Worker int32
	// Set when done.
	Admitted []Admitted
	Next     []GateNext
}

// Admitted is a job that stopped waiting for its limit.
type Admitted struct {
	ID      uuid.UUID
	Gate    int32
	Running bool // at the worker that had a slot reserved for it; queued otherwise
	Tag     string
	Prio    int16
	Due     time.Time
}

// GateNext says when it is worth looking at a gate again although nothing changes in it.
type GateNext struct {
	Gate int32
	In   time.Duration
}

// The statements of a GateBatch, in their order, and their parameters.
var gateStatements = []struct {
	name  string
	types []uint32
}{
	{"GateLock", oids([]uint32{oidInt4}, true)},
	{"GateUse", oids([]uint32{oidUUID, oidInt4}, true)},
	{"GateAdmit", oids([]uint32{oidInt4, oidUUID}, true, oidInt4)},
}

func init() {
	for _, s := range gateStatements {
		jobStatements[s.name] = s.types
	}
}

// gateRows are the buffers of a GateBatch's parameters.
type gateRows struct{ gates, ends, admit *rows }

func newGateRows() *gateRows {
	return &gateRows{
		gates: newRows([]uint32{oidInt4}), ends: newRows([]uint32{oidUUID, oidInt4}), admit: newRows([]uint32{oidInt4, oidUUID}),
	}
}

// admit sends the statements of b.
func (r *gateRows) send(b *GateBatch, send sender) {
	b.Admitted, b.Next = b.Admitted[:0], b.Next[:0]
	none := func(rr *pgconn.ResultReader) {
		for rr.NextRow() {
		}
	}
	gates, admit := r.gates.reset(), r.admit.reset()
	for _, id := range b.Gates {
		gates[0].int4(id)
		admit[0].int4(id)
	}
	for _, id := range b.Direct {
		admit[1].uuid(id)
	}
	send("GateLock", r.gates.arrays(), none)
	if len(b.Ends) > 0 {
		ends := r.ends.reset()
		for _, e := range b.Ends {
			ends[0].uuid(e.Job)
			ends[1].int4(e.Gate)
		}
		send("GateUse", r.ends.arrays(), none)
	}
	send("GateAdmit", append(r.admit.arrays(), int4(b.Worker)), b.read)
}

func (b *GateBatch) read(rr *pgconn.ResultReader) {
	for rr.NextRow() {
		v := rr.Values()
		gate := int32(readInt(v[1]))
		if v[0] == nil {
			b.Next = append(b.Next, GateNext{Gate: gate, In: time.Duration(readInt(v[6])) * time.Microsecond})
			continue
		}
		b.Admitted = append(b.Admitted, Admitted{
			ID: readUUID(v[0]), Gate: gate, Running: readInt(v[2]) == stateRunning, Tag: string(v[3]), Prio: int16(readInt(v[4])), Due: readTime(v[5]),
		})
	}
}

// GateAdmit does b in a transaction of its own. It is one round trip: nobody waits for this process while the gates are
// locked. Like a claim it may be lost by a crash of the server; the jobs wait then, and are admitted once more.
func (db *DB) GateAdmit(ctx context.Context, b *GateBatch) error {
	c, err := db.quick.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("admit jobs: %w", err)
	}
	defer c.Release()
	stmts := map[string]*pgconn.StatementDescription{}
	for _, s := range gateStatements {
		if stmts[s.name], err = c.Conn().Prepare(ctx, s.name, withColumns(q(s.name))); err != nil {
			return fmt.Errorf("admit jobs: %w", err)
		}
	}
	p := c.Conn().PgConn().StartPipeline(ctx)
	var readers []func(*pgconn.ResultReader)
	newGateRows().send(b, func(name string, params [][]byte, read func(*pgconn.ResultReader)) {
		p.SendQueryStatement(stmts[name], params, binaryFormat, binaryFormat)
		readers = append(readers, read)
	})
	if err = p.Sync(); err == nil {
		err = readAll(p, readers)
	}
	if err = errors.Join(err, p.Close()); err != nil {
		return fmt.Errorf("admit jobs: %w", err)
	}
	return nil
}

// GateEnsure returns the number of the gate of a key and makes sure that it is as l says.
func (db *DB) GateEnsure(ctx context.Context, ws string, l *engine.Limit) (id int32, err error) {
	err = db.read(ctx, func() error { // doing it twice does no harm
		return db.pool.QueryRow(ctx, q("GateEnsure"), ws, l.Key, l.Slots, l.Window.Milliseconds()).Scan(&id)
	})
	if err != nil {
		return 0, fmt.Errorf("store limit: %w", err)
	}
	return id, nil
}

// GateLook lists the gates that could admit a job.
func (db *DB) GateLook(ctx context.Context) ([]int32, error) {
	rows, err := db.quick.Query(ctx, withColumns(q("GateLook")))
	if err != nil {
		return nil, fmt.Errorf("look for waiting jobs: %w", err)
	}
	defer rows.Close()
	var out []int32
	for rows.Next() {
		var id int32
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look for waiting jobs: %w", err)
		}
		out = append(out, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for waiting jobs: %w", err)
	}
	return out, nil
}

// GateRefuse completes jobs that wait for their limit as failures with this result, and returns those that it did complete.
func (db *DB) GateRefuse(ctx context.Context, ids []uuid.UUID, result []byte) ([]uuid.UUID, error) {
	rows, err := db.pool.Query(ctx, withColumns(q("GateRefuse")), uuids(ids), string(result))
	if err != nil {
		return nil, fmt.Errorf("refuse jobs: %w", err)
	}
	defer rows.Close()
	var out []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan((*[16]byte)(&id)); err != nil {
			return nil, fmt.Errorf("refuse jobs: %w", err)
		}
		out = append(out, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("refuse jobs: %w", err)
	}
	return out, nil
}

// GateView is how the limit of a job stands.
type GateView struct {
	Key      string
	Slots    int
	Window   time.Duration
	Waiting  bool // the job waits for it
	Admitted int  // jobs that are queued or running
	Ahead    int64
	Holders  []uuid.UUID // the first of those admitted
	Recent   int         // completed jobs that were started within the window
	Next     *time.Time  // when the first of those falls out of it
}

// GateOf returns how the limit of a job stands; see IsNotFound.
func (db *DB) GateOf(ctx context.Context, ws string, id uuid.UUID) (*GateView, error) {
	var v GateView
	var ms int64
	var holders [][16]byte
	err := db.read(ctx, func() error {
		return db.pool.QueryRow(ctx, q("GateOf"), [16]byte(id), ws).Scan(&v.Key, &v.Slots, &ms, &v.Waiting, &v.Admitted, &v.Ahead,
			&holders, &v.Recent, &v.Next)
	})
	if err != nil {
		return nil, fmt.Errorf("look at the limit of job %s: %w", id, err)
	}
	v.Window = time.Duration(ms) * time.Millisecond
	for _, h := range holders {
		v.Holders = append(v.Holders, h)
	}
	return &v, nil
}

// GateSweep forgets gates that have not been used for longer than age and that no job names.
func (db *DB) GateSweep(ctx context.Context, age time.Duration) (n int64, err error) {
	if err := db.pool.QueryRow(ctx, q("GateSweep"), age).Scan(&n); err != nil {
		return 0, fmt.Errorf("forget limits: %w", err)
	}
	return n, nil
}

// RoomTaken counts waiting jobs, of one tag or, with "", of all, no further than most.
func (db *DB) RoomTaken(ctx context.Context, tag string, most int64) (n int64, err error) {
	if tag == "" {
		err = db.quick.QueryRow(ctx, q("RoomTaken"), most).Scan(&n)
	} else {
		err = db.quick.QueryRow(ctx, q("RoomTakenTag"), most, tag).Scan(&n)
	}
	if err != nil {
		return 0, fmt.Errorf("count waiting jobs: %w", err)
	}
	return n, nil
}
