package queue

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/millrace/millrace/engine/store/storetest"
)

// BenchmarkFloor is the least that a durable job can cost on this machine, to hold BenchmarkNoop against: the same group commit in
// front of the narrowest tables that can lose no job, with bigint keys, no partitions, no indexes but the keys, no checks, no
// tenants, no readers. What the machine is worth today cancels out in the ratio of the two.
func BenchmarkFloor(b *testing.B) {
	url := storetest.Durable(b)
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("c=%d", clients), func(b *testing.B) {
			f := openFloor(b, url)
			defer f.conn.Close(context.Background()) //nolint:errcheck // the database goes with it
			b.ResetTimer()
			f.load(b, b.N, clients).report(b)
		})
	}
}

// BenchmarkOfFloor is the share of the floor's rate that jobs reach: both take turns on one server, a quarter of a second each, so
// that what else the machine does meets both.
func BenchmarkOfFloor(b *testing.B) {
	url := storetest.Durable(b)
	for _, clients := range []int{64, 256} {
		b.Run(fmt.Sprintf("c=%d", clients), func(b *testing.B) {
			f := openFloor(b, url)
			defer f.conn.Close(context.Background()) //nolint:errcheck // the database goes with it
			d, stop := openInstant(b, url)
			defer stop()
			f.load(b, 5000, clients)
			d.load(b, 5000, clients)
			var shares, floors, jobs []float64
			b.ResetTimer()
			for left := b.N; left > 0; left -= 5000 {
				lowest := 5000 / f.load(b, 5000, clients).took.Seconds()
				rate := 5000 / d.load(b, 5000, clients).took.Seconds()
				floors, jobs, shares = append(floors, lowest), append(jobs, rate), append(shares, rate/lowest)
			}
			for name, list := range map[string][]float64{"floor/s": floors, "jobs/s": jobs, "of-floor": shares} {
				slices.Sort(list)
				b.ReportMetric(list[len(list)/2], name)
			}
		})
	}
}

const floorTables = `
drop table if exists fq, fjob, fdone;
create table fq (id int8 primary key, tag int4, prio int2, state int2, attempt int4, worker int4, scheduled_for timestamptz,
    started_at timestamptz) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0);
create index on fq (tag, prio desc, scheduled_for, id) where state = 0;
create table fjob (id int8 primary key, tag int4, created timestamptz, args jsonb);
create table fdone (id int8 primary key, finished timestamptz, ok bool, result jsonb);`

// floorStatements are: queue rows, job rows, outcomes.
var floorStatements = [3]string{
	`insert into fq select u, 1, 0, 1, 1, 7, now(), now() from unnest($1::int8[]) u`,
	`insert into fjob select i, 1, now(), a from unnest($1::int8[], $2::jsonb[]) u(i, a)`,
	`with d as (
	     delete from fq using unnest($1::int8[], $2::jsonb[]) u(id, result)
	     where fq.id = u.id and fq.worker = 7 and fq.attempt = 1 returning fq.id, u.result
	 ) insert into fdone select id, now(), true, result from d returning id`,
}

type floorOp struct {
	id     int64
	finish bool
	done   chan struct{}
	err    error
}

type floor struct {
	conn  *pgconn.PgConn
	types *pgtype.Map
	group group[*floorOp]
	ids   atomic.Int64
}

func openFloor(b *testing.B, url string) *floor {
	b.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	cfg.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	for _, off := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"} {
		cfg.RuntimeParams[off] = "off"
	}
	conn, err := pgconn.ConnectConfig(b.Context(), &cfg.Config)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(b.Context(), floorTables).ReadAll(); err != nil {
		b.Fatal(err)
	}
	for i, sql := range floorStatements {
		if _, err := conn.Prepare(b.Context(), fmt.Sprint("f", i), sql, nil); err != nil {
			b.Fatal(err)
		}
	}
	f := &floor{conn: conn, types: pgtype.NewMap()}
	f.ids.Store(time.Now().UnixMicro() << 10)
	f.group = group[*floorOp]{run: func(ops []*floorOp) func() {
		err := f.flush(ops)
		for _, o := range ops {
			o.err = err
			close(o.done)
		}
		return nil
	}, max: 512}
	return f
}

func (f *floor) flush(ops []*floorOp) error {
	var born, ended []int64
	var args, results []string
	for _, o := range ops {
		if o.finish {
			ended, results = append(ended, o.id), append(results, "null")
		} else {
			born, args = append(born, o.id), append(args, `{"n": 1, "name": "a typical argument"}`)
		}
	}
	p := f.conn.StartPipeline(context.Background())
	send := func(statement int, ids []int64, docs []string) error {
		keys, err := f.types.Encode(pgtype.Int8ArrayOID, pgtype.BinaryFormatCode, ids, nil)
		if err != nil {
			return err
		}
		params, formats := [][]byte{keys}, []int16{1}
		if docs != nil {
			list, err := f.types.Encode(pgtype.JSONBArrayOID, pgtype.BinaryFormatCode, docs, nil)
			if err != nil {
				return err
			}
			params, formats = append(params, list), append(formats, 1)
		}
		p.SendQueryPrepared(fmt.Sprint("f", statement), params, formats, binaryResult)
		return nil
	}
	want := 0
	if len(born) > 0 {
		if err := send(0, born, nil); err != nil {
			return err
		}
		if err := send(1, born, args); err != nil {
			return err
		}
		want += 2
	}
	if len(ended) > 0 {
		if err := send(2, ended, results); err != nil {
			return err
		}
		want++
	}
	if err := p.Sync(); err != nil {
		return err
	}
	for range want {
		res, err := p.GetResults()
		if err != nil {
			return err
		}
		rows := 0
		r := res.(*pgconn.ResultReader)
		for r.NextRow() {
			rows++
		}
		if tag, err := r.Close(); err != nil || tag.RowsAffected() == 0 {
			return fmt.Errorf("%s, %d rows: %w", tag, rows, err)
		}
	}
	return p.Close()
}

var binaryResult = []int16{1}

func (f *floor) do(id int64, finish bool) error {
	o := &floorOp{id: id, finish: finish, done: make(chan struct{})}
	f.group.add(o)
	<-o.done
	return o.err
}

// load does n jobs with that many clients.
func (f *floor) load(b *testing.B, n, clients int) loaded {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	starts := make([][]time.Duration, clients)
	errs := make(chan error, clients)
	began := time.Now()
	for i := range clients {
		go func() {
			for left.Add(-1) >= 0 {
				began, id := time.Now(), f.ids.Add(1)
				if err := f.do(id, false); err != nil {
					errs <- err
					return
				}
				starts[i] = append(starts[i], time.Since(began))
				if err := f.do(id, true); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return loaded{took: time.Since(began), starts: slices.Concat(starts...)}
}
