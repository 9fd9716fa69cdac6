package batches

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestCancelLarge cancels a batch while other jobs come and go and some of its own end. The short form judges that everything adds up. The
// long one, with MILLRACE_CANCEL_ROWS rows on a server that flushes, also tells how long it took and what others felt.
func TestCancelLarge(t *testing.T) {
	rows, long := 30_000, os.Getenv("MILLRACE_CANCEL_ROWS") != ""
	var p *place
	if long {
		var err error
		if rows, err = strconv.Atoi(os.Getenv("MILLRACE_CANCEL_ROWS")); err != nil {
			t.Fatal(err)
		}
		p = openOn(t, storetest.Open(t, storetest.Durable(t)))
	} else {
		t.Parallel()
		p = open(t)
	}
	b := p.receive(of("f/demo/a", numbered(100)))
	p.enlarge(b.ID, 100, rows)
	if long {
		storetest.Exec(t, p.db, "vacuum analyze")
		storetest.Exec(t, p.db, "checkpoint")
	}
	mine := p.claim(100) // they run while the batch is canceled
	others := p.others()
	defer others.stop()
	others.some(t, 50)
	before := others.take()

	began := time.Now()
	if err := p.Cancel(t.Context(), ann, "main", b.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	answered := time.Since(began)
	var ends []time.Duration
	for _, c := range mine {
		<-p.killed
		at := time.Now()
		p.end([]*engine.Claim{c}, engine.StateCanceled)
		ends = append(ends, time.Since(at))
	}
	p.until("everything is canceled", func() bool { return p.look(b.ID).FinishedAt != nil })
	took := time.Since(began)
	others.some(t, 50)
	now := p.look(b.ID)
	n := int64(rows)
	if now.Done != n || now.Canceled != n || now.Inserted != n || now.Queued != 0 || now.Running != 0 {
		t.Errorf("%+v", now)
	}
	if q, r, err := p.q.Counts(t.Context(), "main"); err != nil || q+r > 1 {
		t.Errorf("%d jobs are queued and %d running, %v", q, r, err)
	}
	during := others.take()
	t.Logf("%d rows: answered after %s, all canceled after %s; a job beside it took %s (p99 %s, max %s), before %s (p99 %s, max %s); ends of its own %s, max %s", rows,
		answered.Round(time.Millisecond), took.Round(time.Millisecond), at(during, 0.5), at(during, 0.99), at(during, 1), at(before, 0.5), at(before, 0.99), at(before, 1),
		at(ends, 0.5), at(ends, 1))
}

func at(s []time.Duration, q float64) time.Duration {
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)].Round(10 * time.Microsecond)
}

// enlarge adds rows to a batch that has some, copies of its last.
func (p *place) enlarge(id uuid.UUID, have, want int) {
	p.t.Helper()
	last := engine.BatchJobID(id, int64(have)).String()
	more := "(left('" + id.String() + "', 28) || lpad(to_hex(i), 8, '0'))::uuid"
	series := " from generate_series(" + strconv.Itoa(have+1) + ", " + strconv.Itoa(want) + ") i, "
	storetest.Exec(p.t, p.db, "insert into job (id, created_at, scheduled_for, spec, workspace, args, batch) select "+more+
		", t.created_at, t.scheduled_for, t.spec, t.workspace, t.args, t.batch"+series+"job t where t.id = '"+last+"'")
	storetest.Exec(p.t, p.db, "insert into q (id, scheduled_for, prio, state, tag, batch, spec) select "+more+
		", t.scheduled_for, t.prio, t.state, t.tag, t.batch, t.spec"+series+"q t where t.id = '"+last+"'")
	storetest.Exec(p.t, p.db, "update batch set total = "+strconv.Itoa(want)+", inserted = "+strconv.Itoa(want)+" where id = '"+id.String()+"'")
}

// until waits for a fact that nobody tells.
func (p *place) until(what string, fact func() bool) {
	p.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(2 * time.Minute); !fact(); {
		select {
		case <-tick.C:
		case <-limit:
			p.t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// others are jobs of another tag that come and go, one after the other.
type others struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	took   []time.Duration // guarded by mu: from the push to the stored end
	n      int             // guarded by mu
}

func (p *place) others() *others {
	o := &others{}
	var ctx context.Context
	ctx, o.cancel = context.WithCancel(context.Background())
	o.done.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			j := &engine.Job{ID: engine.NewJobID(), Workspace: "main", Kind: engine.KindNoop, Tag: "other", CreatedBy: "ann", CreatedAt: began, Args: json.RawMessage("{}"),
				Trigger: "api", PermissionedAs: "u/ann"}
			if _, err := p.q.Push(ctx, j); err != nil {
				if ctx.Err() == nil {
					p.t.Error(err)
				}
				return
			}
			list, err := p.q.Claim(ctx, []string{"other"}, 1)
			if err == nil && len(list) == 1 {
				_, err = p.q.Finish(ctx, engine.Outcome{ID: j.ID, Worker: list[0].Worker, Attempt: list[0].Attempt, State: engine.StateSuccess, Result: json.RawMessage("1")})
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil || len(list) != 1 {
				p.t.Errorf("claimed %d, %v", len(list), err)
				return
			}
			o.mu.Lock()
			o.n++
			o.took = append(o.took, time.Since(began))
			o.mu.Unlock()
		}
	})
	return o
}

// some waits until n more have ended.
func (o *others) some(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.n
	}
	from := count()
	(&place{t: t}).until("other jobs go on", func() bool { return count() >= from+n })
}

func (o *others) take() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.took
	o.took = nil
	return out
}

func (o *others) stop() {
	o.cancel()
	o.done.Wait()
}
