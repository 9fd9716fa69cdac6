package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
)

// JobBatch is what one flush does, in one transaction.
type JobBatch struct {
	Inserts  []*JobInsert
	Finishes []*JobFinish
	Flows    []*FlowOp // each of another flow
	Marks    []*Checkpoint
	Gates    *GateBatch // nil: no job of the batch has a limit
	Claim    *JobClaim  // nil: none
}

// JobWriter is the one connection through which jobs are created and completed. A flush sends everything in one pipeline
// with one Sync: one implicit transaction, one fsync, one round trip. It is not safe for concurrent use, except Break.
type JobWriter struct {
	db    *DB
	conn  *pgconn.PgConn
	sock  atomic.Pointer[net.Conn] // of conn, for Break
	stmts map[string]*pgconn.StatementDescription
	// The parameters' buffers live until the flush is over.
	jobs  [4]*rows // direct, queued, full, keyed
	ends  [2]*rows // plain, full
	same  [2]*rows // jobs, outcomes
	lanes *rows
	gates *gateRows
	flows *flowRows
	marks *rows
}

// NewJobWriter returns a writer that is not connected yet.
func (db *DB) NewJobWriter() *JobWriter {
	return &JobWriter{
		db: db, lanes: newRows(laneTypes), gates: newGateRows(), flows: newFlowRows(), marks: newRows(checkpointTypes), ends: [2]*rows{newRows(plainFinishTypes), newRows(finishTypes)},
		same: [2]*rows{newRows(sameJobTypes), newRows(sameFinishTypes)},
		jobs: [4]*rows{newRows(plainJobTypes), newRows(plainJobTypes), newRows(jobTypes), newRows(jobTypes)},
	}
}

// jobStatements are prepared on every writer connection, by the names of their queries.
var jobStatements = map[string][]uint32{
	"JobInsertMany":  oids(plainJobTypes, true, oidInt4),
	"JobInsertSame":  oids(sameJobTypes, true, oidInt4, oidText, oidInt2, oidText, oidInt4),
	"JobInsertOne":   oids(plainJobTypes, false, oidInt4),
	"JobInsertFull":  oids(jobTypes, true),
	"JobInsertKeyed": oids(jobTypes, false),
	"JobFinishMany":  oids(plainFinishTypes, true, oidInt4, oidInt4),
	"JobFinishSame":  oids(sameFinishTypes, true, oidInt2, oidInt4, oidInt4),
	"JobFinishOne":   oids(plainFinishTypes, false, oidInt4, oidInt4, oidJSON),
	"JobFinishFull":  oids(finishTypes, true),
	"JobClaim":       oids(laneTypes, true, oidInt8, oidInt4),
}

// Connect makes the connection unless it is alive.
func (w *JobWriter) Connect(ctx context.Context) error {
	if w.Alive() {
		return nil
	}
	cfg := w.db.pool.Config().ConnConfig.Config.Copy()
	for k, v := range pinned {
		cfg.RuntimeParams[k] = v
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect writer: %w", err)
	}
	// What is durable when Push returns must be, whatever the server's default; a stricter setting is kept.
	if _, err := conn.Exec(ctx, q("DurableCommit")).ReadAll(); err != nil {
		conn.Close(ctx) //nolint:errcheck // already failing
		return fmt.Errorf("connect writer: %w", err)
	}
	w.stmts = map[string]*pgconn.StatementDescription{}
	for name, types := range jobStatements {
		if w.stmts[name], err = conn.Prepare(ctx, name, withColumns(q(name)), types); err != nil {
			conn.Close(ctx) //nolint:errcheck // already failing
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	if conn, err = blocking(conn); err != nil {
		return fmt.Errorf("connect writer: %w", err)
	}
	sock := conn.Conn()
	w.conn = conn
	w.sock.Store(&sock)
	return nil
}

// Alive reports whether the connection was usable when last used.
func (w *JobWriter) Alive() bool { return w.conn != nil && !w.conn.IsClosed() }

// Break cuts the connection under a flush that hangs. Safe to call from anywhere.
func (w *JobWriter) Break() {
	sock := w.sock.Load()
	if sock == nil {
		return
	}
	if b, ok := (*sock).(*blockingConn); ok {
		b.Break()
		return
	}
	(*sock).Close() //nolint:errcheck // the flush sees it
}

// Close ends the connection.
func (w *JobWriter) Close(ctx context.Context) {
	if w.conn != nil {
		w.conn.Close(ctx) //nolint:errcheck // nothing is lost with it
	}
}

// binary says that all parameters and results are in binary format.
var binaryFormat = []int16{1}

// Flush does b. On an error nothing of it is done, unless the connection was lost (not Alive): then it is unknown.
func (w *JobWriter) Flush(b *JobBatch) error {
	p := w.conn.StartPipeline(context.Background())
	in := split(b.Inserts)
	var readers []func(*pgconn.ResultReader)
	send := func(name string, params [][]byte, read func(*pgconn.ResultReader)) {
		p.SendQueryStatement(w.stmts[name], params, binaryFormat, binaryFormat)
		readers = append(readers, read)
	}
	w.insert(w.jobs[0], in.direct, send)
	w.insert(w.jobs[1], in.queued, send)
	if len(in.full) > 0 {
		send("JobInsertFull", fullJobs(w.jobs[2], in.full), markInserted(in.full))
	}
	for _, i := range in.keyed {
		addJob(w.jobs[3].reset(), i)
		// Encoded one after another into one buffer set: send copies the parameters into the connection's buffer.
		send("JobInsertKeyed", w.jobs[3].scalars(), markInserted([]*JobInsert{i}))
	}
	if len(b.Marks) > 0 {
		sendCheckpoints(w.marks, b.Marks, send)
	}
	w.finish(b.Finishes, send)
	if len(b.Flows) > 0 {
		w.flows.send(b.Flows, send)
	}
	if b.Gates != nil {
		w.gates.send(b.Gates, send)
	}
	if b.Claim != nil && len(b.Claim.Lanes) > 0 {
		send("JobClaim", claimParams(w.lanes, b.Claim), readClaims(b.Claim))
	}
	err := p.Sync()
	if err == nil {
		err = readAll(p, readers)
	}
	return errors.Join(err, p.Close())
}

type sender func(name string, params [][]byte, read func(*pgconn.ResultReader))

// insert sends plain jobs, all for the same worker.
func (w *JobWriter) insert(r *rows, list []*JobInsert, send sender) {
	if len(list) == 0 {
		return
	}
	first := list[0]
	worker := int4(first.Worker)
	all := func(rr *pgconn.ResultReader) { // or the statement fails
		for _, i := range list {
			i.Inserted = true
		}
	}
	if len(list) > 1 && first.Worker != 0 && !slices.ContainsFunc(list, func(i *JobInsert) bool { return !i.same(first) }) {
		cols := w.same[0].reset()
		for _, i := range list {
			addSameJob(cols, i)
		}
		j := first.Job
		send("JobInsertSame", append(w.same[0].arrays(), int4(first.Spec), []byte(j.Workspace), int2(j.Priority), []byte(j.Tag), worker), all)
		return
	}
	cols := r.reset()
	for _, i := range list {
		addPlainJob(cols, i)
	}
	if len(list) == 1 {
		send("JobInsertOne", append(r.scalars(), worker), all)
		return
	}
	send("JobInsertMany", append(r.arrays(), worker), all)
}

func fullJobs(r *rows, list []*JobInsert) [][]byte {
	cols := r.reset()
	for _, i := range list {
		addJob(cols, i)
	}
	return r.arrays()
}

func (w *JobWriter) finish(list []*JobFinish, send sender) {
	var plain, full []*JobFinish
	alone := len(list) == 1
	for _, f := range list {
		if f.plain() && (f.Usage == nil || alone) && (len(plain) == 0 || (f.Worker == plain[0].Worker && f.Attempt == plain[0].Attempt)) {
			plain = append(plain, f)
		} else {
			full = append(full, f)
		}
	}
	if len(plain) > 0 {
		w.finishPlain(plain, send)
	}
	if len(full) > 0 {
		cols := w.ends[1].reset()
		for _, f := range full {
			addFinish(cols, f)
		}
		send("JobFinishFull", w.ends[1].arrays(), markAccepted(full))
	}
}

// finishPlain sends plain outcomes of one worker and attempt.
func (w *JobWriter) finishPlain(list []*JobFinish, send sender) {
	first := list[0]
	worker, attempt := int4(first.Worker), int4(first.Attempt)
	if len(list) > 1 && !slices.ContainsFunc(list, func(f *JobFinish) bool { return !f.same(first) }) {
		cols := w.same[1].reset()
		for _, f := range list {
			addSameFinish(cols, f)
		}
		send("JobFinishSame", append(w.same[1].arrays(), int2(stateNumber(first.State)), worker, attempt), markAccepted(list))
		return
	}
	cols := w.ends[0].reset()
	for _, f := range list {
		addPlainFinish(cols, f)
	}
	if len(list) == 1 {
		send("JobFinishOne", append(w.ends[0].scalars(), worker, attempt, encodeUsage(first.Usage)), markAccepted(list))
		return
	}
	send("JobFinishMany", append(w.ends[0].arrays(), worker, attempt), markAccepted(list))
}

// inserts are the jobs of a batch by the statement that stores them.
type inserts struct{ direct, queued, full, keyed []*JobInsert }

// split parts jobs into plain ones born running and plain ones left queued, those with more to store, and those with an
// idempotency key.
func split(list []*JobInsert) (in inserts) {
	for _, i := range list {
		i.Inserted = false
		switch {
		case i.Job.IdempotencyKey != "":
			in.keyed = append(in.keyed, i)
		case !i.plain():
			in.full = append(in.full, i)
		case i.Worker != 0:
			in.direct = append(in.direct, i)
		default:
			in.queued = append(in.queued, i)
		}
	}
	return in
}

// readAll reads the results of the statements and the commit.
func readAll(p *pgconn.Pipeline, readers []func(*pgconn.ResultReader)) error {
	for _, read := range readers {
		res, err := p.GetResults()
		if err != nil {
			return err
		}
		rr, ok := res.(*pgconn.ResultReader)
		if !ok {
			return fmt.Errorf("unexpected pipeline result %T", res)
		}
		read(rr)
		if _, err := rr.Close(); err != nil {
			return err
		}
	}
	res, err := p.GetResults()
	if err != nil {
		return err
	}
	if _, ok := res.(*pgconn.PipelineSync); !ok {
		return fmt.Errorf("unexpected pipeline result %T", res)
	}
	return nil
}

func markInserted(list []*JobInsert) func(*pgconn.ResultReader) {
	if len(list) == 1 {
		return func(rr *pgconn.ResultReader) {
			for rr.NextRow() {
				list[0].Inserted = true
			}
		}
	}
	return func(rr *pgconn.ResultReader) {
		got := readIDs(rr, len(list))
		for _, i := range list { // of two with one id only the first was inserted
			i.Inserted = got[i.Job.ID]
			delete(got, i.Job.ID)
		}
	}
}

func markAccepted(list []*JobFinish) func(*pgconn.ResultReader) {
	if len(list) == 1 {
		list[0].Accepted = false
		return func(rr *pgconn.ResultReader) {
			for rr.NextRow() {
				list[0].Accepted = true
			}
		}
	}
	return func(rr *pgconn.ResultReader) {
		got := readIDs(rr, len(list))
		for _, f := range list {
			f.Accepted = got[f.ID]
			delete(got, f.ID)
		}
	}
}

func readIDs(rr *pgconn.ResultReader, n int) map[uuid.UUID]bool {
	got := make(map[uuid.UUID]bool, n)
	for rr.NextRow() {
		got[readUUID(rr.Values()[0])] = true
	}
	return got
}

func claimParams(r *rows, c *JobClaim) [][]byte {
	cols := r.reset()
	for _, l := range c.Lanes {
		addLane(cols, l)
	}
	return append(r.arrays(), int8param(int64(c.Max)), int4(c.Worker))
}

func readClaims(c *JobClaim) func(*pgconn.ResultReader) {
	return func(rr *pgconn.ResultReader) {
		c.Claims, c.Due = c.Claims[:0], c.Due[:0]
		for rr.NextRow() {
			got, due, now := readClaim(rr.Values(), c.Worker)
			c.Claims, c.Due, c.Now = append(c.Claims, got), append(c.Due, due), now
		}
	}
}

func int4(v int32) []byte {
	return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

func int2(v int16) []byte { return []byte{byte(v >> 8), byte(v)} }

func int8param(v int64) []byte {
	return append(int4(int32(v>>32)), int4(int32(v))...)
}
