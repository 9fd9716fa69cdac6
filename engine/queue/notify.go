package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
)

// Processes that share a database wake each other. A push is never part of the transaction that inserts (that would make
// all of them queue up for one lock), is sent once for all that was left queued meanwhile, and only when there is another
// worker to hear it.
const (
	pushChannel   = "millrace_push"   // "<worker>\n<prio> <tag>\n...": rows were left queued; no lanes: look everywhere; a line "@<ms since 1970>": one becomes due then
	cancelChannel = "millrace_cancel" // "<worker>": jobs of that worker were canceled
	joinChannel   = "millrace_join"   // "<worker>": a worker has come
)

// payloadLimit is less than the 8000 bytes that Postgres allows.
const payloadLimit = 7000

// notices is what this process has to tell about.
type notices struct {
	mu    sync.Mutex
	lanes map[laneKey]bool // guarded by mu
	look  bool             // lanes unknown: everything; guarded by mu
	due   time.Time        // when the first of those for later becomes due, by the server's clock; zero: there are none; guarded by mu
	kick  chan struct{}
	now   func() time.Time // by the server's clock
	poll  time.Duration    // about how often all look what becomes due next, unless looks take long
}

func (n *notices) init(now func() time.Time, poll time.Duration) {
	n.now, n.poll = now, poll
	n.lanes = map[laneKey]bool{}
	n.kick = make(chan struct{}, 1)
}

// queued notes a job that was left queued.
func (n *notices) queued(j *engine.Job) {
	wait := j.ScheduledFor.Sub(n.now())
	if wait > 2*n.poll+maxRest {
		return // found in time by the looks of all
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if wait <= 0 {
		n.lanes[laneKey{j.Tag, j.Priority}] = true
	} else if n.due.IsZero() || j.ScheduledFor.Before(n.due) {
		n.due = j.ScheduledFor
	}
}

// all notes that jobs of unknown lanes are queued.
func (n *notices) all() {
	n.mu.Lock()
	n.look = true
	n.mu.Unlock()
}

func (n *notices) any() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.look || len(n.lanes) > 0 || !n.due.IsZero()
}

// take empties the notices into a payload; "" when there are none.
func (n *notices) take(worker int32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.look && len(n.lanes) == 0 && n.due.IsZero() {
		return ""
	}
	from := strconv.Itoa(int(worker))
	var b strings.Builder
	b.WriteString(from)
	for k := range n.lanes {
		fmt.Fprintf(&b, "\n%d %s", k.prio, k.tag)
	}
	if !n.due.IsZero() {
		fmt.Fprintf(&b, "\n@%d", n.due.UnixMilli())
	}
	look := n.look
	n.look, n.due = false, time.Time{}
	clear(n.lanes)
	if look || b.Len() > payloadLimit {
		return from
	}
	return b.String()
}

// left wakes the dispatcher of this process and has others told: jobs were left queued.
func (q *Queue) left() {
	q.wakeUp()
	if q.others.Load() > 0 {
		signal(q.news.kick)
	} else {
		q.news.take(0)
	}
}

// notifier sends what there is to tell, one message at a time.
func (q *Queue) notifier(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.news.kick:
		}
		payload := q.news.take(q.worker.Load())
		if payload == "" {
			continue
		}
		if err := q.cfg.DB.Notify(ctx, pushChannel, payload); err != nil && ctx.Err() == nil {
			q.cfg.Log.Warn().Err(err).Msg("wake other workers; their polls will find the jobs")
		}
	}
}

func (q *Queue) subscribe(ctx context.Context) (err error) {
	mine := func(p string) bool { return p == strconv.Itoa(int(q.worker.Load())) }
	if q.pushes, err = q.cfg.DB.Listen(ctx, pushChannel, nil); err != nil {
		return err
	}
	if q.cancels, err = q.cfg.DB.Listen(ctx, cancelChannel, mine); err != nil {
		return err
	}
	q.joins, err = q.cfg.DB.Listen(ctx, joinChannel, nil)
	return err
}

// listener hears what others tell.
func (q *Queue) listener(ctx context.Context) {
	if err := q.cfg.DB.Notify(ctx, joinChannel, strconv.Itoa(int(q.worker.Load()))); err != nil && ctx.Err() == nil {
		q.cfg.Log.Warn().Err(err).Msg("greet other workers; they will see the heartbeat")
	}
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-q.pushes.C:
			if n.Missed {
				signal(q.look)
				continue
			}
			q.heard(n.Payload)
		case n := <-q.cancels.C:
			if err := q.killCanceled(ctx); err != nil && ctx.Err() == nil {
				q.cfg.Log.Warn().Err(err).Str("for", n.Payload).Msg("look for canceled jobs; will look again at the heartbeat")
			}
		case n := <-q.joins.C:
			if n.Payload != strconv.Itoa(int(q.worker.Load())) {
				q.others.CompareAndSwap(0, 1) // the next heartbeat counts them
			}
			if n.Missed { // the database was away: who came, and what was left in doubt meanwhile, is found out now
				signal(q.beatNow)
			}
		}
	}
}

// heard takes in that another process left jobs queued.
func (q *Queue) heard(payload string) {
	from, rest, _ := strings.Cut(payload, "\n")
	if from == strconv.Itoa(int(q.worker.Load())) {
		return
	}
	if rest == "" {
		signal(q.look)
		return
	}
	for line := range strings.SplitSeq(rest, "\n") {
		if ms, ok := strings.CutPrefix(line, "@"); ok {
			if at, err := strconv.ParseInt(ms, 10, 64); err == nil {
				q.lanes.becomesDue(time.UnixMilli(at))
			}
			continue
		}
		prio, tag, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(prio, 10, 16)
		if err != nil {
			continue
		}
		q.lanes.heard(tag, int16(n))
	}
	q.wakeUp()
}
