package fault

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
)

// batchSQL says of every batch what it counts and what there is: rows, those that carry another row's number, and how they ended.
const batchSQL = `select concat_ws(' ', b.idempotency_key, coalesce(b.total, -1), b.inserted, b.done, b.failed, b.canceled, (b.finished_at is not null)::int,
    coalesce(r.jobs, 0), coalesce(r.wrong, 0), coalesce(r.succeeded, 0), coalesce(r.canceled, 0))
from batch b left join (
    select j.batch, count(*) as jobs,
        count(*) filter (where (j.args->>'row')::int8 is distinct from ('x' || right(j.id::text, 8))::bit(32)::int8) as wrong,
        count(*) filter (where d.state = 2) as succeeded, count(*) filter (where d.state = 4) as canceled
    from job j left join done d on d.id = j.id where j.batch is not null group by j.batch
) r on r.batch = b.id`

// batchSeen is a batch as the database has it.
type batchSeen struct {
	total, inserted, done, failed, canceled, finished int64 // its own counts
	jobs, wrong, succeeded, ended                     int64 // its rows; ended: those that were canceled
}

func readBatches(text string) (map[string]batchSeen, error) {
	out := map[string]batchSeen{}
	for line := range strings.Lines(text) {
		var key string
		var b batchSeen
		_, err := fmt.Sscan(line, &key, &b.total, &b.inserted, &b.done, &b.failed, &b.canceled, &b.finished, &b.jobs, &b.wrong, &b.succeeded, &b.ended)
		if err != nil {
			return nil, fmt.Errorf("read batch %q: %w", strings.TrimSpace(line), err)
		}
		out[key] = b
	}
	return out, nil
}

func (s *Stage) judgeBatches(ctx context.Context, b *batchLoad) (*check.Result, error) {
	text, err := s.ask(ctx, batchSQL)
	if err != nil {
		return nil, err
	}
	seen, err := readBatches(text)
	if err != nil {
		return nil, err
	}
	return compareBatches(b.sent, seen), nil
}

// compareBatches compares what was acknowledged with what there is.
func compareBatches(sent []batchSent, seen map[string]batchSeen) *check.Result {
	r := &check.Result{}
	for _, b := range sent {
		r.Pushes += int(b.rows)
		has, there := seen[b.key]
		if !there {
			r.LostPushes += int(b.rows)
			r.Findings = append(r.Findings, b.key+" was acknowledged, and there is no such batch")
			continue
		}
		r.Completions += int(has.succeeded + has.ended)
		compareBatch(r, b, has)
	}
	for key := range seen {
		known := false
		for _, b := range sent {
			known = known || b.key == key
		}
		if !known {
			r.Phantom++
			r.Findings = append(r.Findings, key+": nobody sent it")
		}
	}
	return r
}

func compareBatch(r *check.Result, b batchSent, has batchSeen) {
	find := func(count *int, n int64, what string) {
		if n > 0 {
			*count += int(n)
			r.Findings = append(r.Findings, fmt.Sprintf("%s of %d rows, %s: %d (%+v)", b.key, b.rows, what, n, has))
		}
	}
	find(&r.LostPushes, b.rows-has.jobs, "rows that are gone")
	find(&r.Phantom, has.jobs-b.rows, "rows that nobody sent")
	find(&r.LostPushes, has.wrong, "rows with the arguments of another")
	find(&r.Stuck, has.jobs-has.succeeded-has.ended, "rows without an end, or with a wrong one")
	find(&r.LostCompletions, has.succeeded+has.ended-has.done, "ends that were not counted")
	find(&r.Twice, has.done-has.succeeded-has.ended, "ends that were counted twice")
	find(&r.LostCompletions, max(has.canceled-has.ended, has.ended-has.canceled), "canceled rows that are counted wrongly")
	find(&r.LostCompletions, has.failed, "rows that failed")
	if !b.canceled {
		find(&r.LostCompletions, has.ended, "canceled rows of a batch that nobody canceled")
	}
	if has.total != b.rows || has.inserted != b.rows {
		find(&r.LostPushes, 1, "wrong totals")
	}
	find(&r.Stuck, 1-has.finished, "not noted as finished")
}
