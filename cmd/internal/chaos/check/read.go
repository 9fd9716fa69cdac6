package check

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// SQL selects what Parse reads: every job, and rows of the queue and outcomes that have none.
const SQL = `copy (
    select coalesce(j.id, q.id, d.id), coalesce(q.state, -1), coalesce(d.state, -1), coalesce(d.worker, 0), coalesce(d.attempt, 0),
        coalesce(d.result::text, ''), j.id is null
    from job j full join q on q.id = j.id full join done d on d.id = coalesce(j.id, q.id)
) to stdout (format csv)`

// Parse reads the answer to SQL. Rows without their job are returned apart: there must be none.
func Parse(text string) (rows []Row, orphans []uuid.UUID, err error) {
	in := csv.NewReader(strings.NewReader(text))
	in.ReuseRecord = true
	for {
		f, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, orphans, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read jobs: %w", err)
		}
		if len(f) != 7 {
			return nil, nil, fmt.Errorf("read jobs: %d columns", len(f))
		}
		r := Row{Result: strings.Clone(f[5])}
		var n [4]int64
		for i := range n {
			if n[i], err = strconv.ParseInt(f[i+1], 10, 32); err != nil {
				return nil, nil, fmt.Errorf("read jobs: %w", err)
			}
		}
		if r.ID, err = uuid.Parse(f[0]); err != nil {
			return nil, nil, fmt.Errorf("read jobs: %w", err)
		}
		r.Queued, r.Done, r.Worker, r.Attempt = int(n[0]), int(n[1]), int32(n[2]), int32(n[3])
		if f[6] == "t" {
			orphans = append(orphans, r.ID)
			continue
		}
		rows = append(rows, r)
	}
}

// Orphans adds rows without a job to a verdict: something of theirs was lost.
func (r *Result) Orphans(ids []uuid.UUID) {
	for _, id := range ids {
		r.find(&r.LostPushes, "job %s: in the queue or done, and its own row is gone", id)
	}
}
