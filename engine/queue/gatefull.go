package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// turnAway completes those of list that do not want to wait for their limit and were not admitted when they were pushed.
// Should that fail they wait.
func (q *Queue) turnAway(ctx context.Context, list []*store.JobInsert) (ended map[uuid.UUID]bool) {
	why := map[string][]uuid.UUID{}
	for _, i := range list {
		l := i.Job.Limit
		if i.Gate == 0 || !l.Fail || !i.Inserted || i.Admitted != nil || i.Job.ScheduledFor.After(q.now()) {
			continue
		}
		message := reached(l)
		why[message] = append(why[message], i.Job.ID)
	}
	for message, ids := range why {
		done, err := q.cfg.DB.GateRefuse(context.WithoutCancel(ctx), ids, failure("ConcurrencyLimit", message))
		if err != nil {
			q.cfg.Log.Warn().Err(err).Msg("end jobs whose limit is reached; they wait for it")
			continue
		}
		for _, id := range done {
			if ended == nil {
				ended = map[uuid.UUID]bool{}
			}
			ended[id] = true
		}
	}
	return ended
}

func reached(l *engine.Limit) string {
	if l.Window > 0 {
		return fmt.Sprintf("the limit %s is reached: %d within %s", l.Key, l.Slots, l.Window)
	}
	return fmt.Sprintf("the limit %s is reached: %d at the same time", l.Key, l.Slots)
}

// gateReasons explains how the limit of an active job stands; nil when it does not wait for one.
func (q *Queue) gateReasons(ctx context.Context, ws string, id uuid.UUID) (out []string, ahead int64, err error) {
	g, err := q.cfg.DB.GateOf(ctx, ws, id)
	if store.IsNotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, wrap(err)
	}
	if !g.Waiting {
		return nil, 0, nil
	}
	if g.Admitted+g.Recent < g.Slots {
		return []string{"it is next at the limit " + g.Key}, g.Ahead, nil
	}
	if g.Recent > 0 && g.Next != nil {
		out = append(out, fmt.Sprintf("rate limit %s: %d of %d started within %s, next start at %s", g.Key, g.Admitted+g.Recent, g.Slots,
			g.Window, g.Next.UTC().Format(time.RFC3339Nano)))
	}
	if g.Admitted > 0 {
		out = append(out, fmt.Sprintf("it waits for the limit %s: %d of %d run: %s", g.Key, g.Admitted, g.Slots, names(g.Holders, g.Admitted)))
	}
	return out, g.Ahead, nil
}

// names lists ids, and how many more there are of all.
func names(ids []uuid.UUID, all int) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(id.String())
	}
	if more := all - len(ids); more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}
