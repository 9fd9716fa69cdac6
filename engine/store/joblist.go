package store

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// list is the shape of a list's statement.
type list struct {
	active, completed bool    // only jobs that are, or are not, in q
	specs             bool    // narrowed by what the jobs run, by time, and by how they ended alone
	ids               bool    // only completed ones, in the order of their ids
	rare              []int16 // with ids: only of these states, which have indexes
	ofSpecs           bool    // with rare: narrowed by what the jobs run, too
	latest            bool    // with specs and only completed ones: only among the latest that completed
	batch             bool    // only jobs of one batch, whose ids are in the order of their creation
	ascending         bool
}

// rareOnly is states when each of them is in the indexes of what did not succeed, each once; nil otherwise.
func rareOnly(states []int16) []int16 {
	if len(states) == 0 || slices.ContainsFunc(states, func(s int16) bool { return s != stateFailure && s != stateCanceled }) {
		return nil
	}
	states = slices.Clone(states)
	slices.Sort(states)
	return slices.Compact(states)
}

// rows says that the list is of a batch's rows, whatever became of them.
func (l list) rows() bool { return l.batch && l.completed == l.active }

// query picks the joins that let the planner start from the smaller table.
func (l list) query() string {
	order := "j.created_at {dir}, j.id {dir}"
	if l.batch {
		order = "j.id {dir}"
	}
	from, joins, state, dir, ended := "job j", "left join q on q.id = j.id\nleft join done d on d.id = j.id", "coalesce(d.state, q.state)", "desc", ""
	switch {
	case l.active && !l.completed:
		state = "q.state"
		joins = "join q on q.id = j.id\nleft join done d on d.id = j.id and false"
	case l.completed && !l.active:
		state, ended = "d.state", q("JobListEnded")
		joins = "left join q on q.id = j.id and false\njoin done d on d.id = j.id"
	}
	if l.specs {
		from = strings.ReplaceAll(q("JobListOfSpecs"), "{ended}", ended)
	}
	if l.ascending {
		dir = "asc"
	}
	sql := q("JobList")
	switch {
	case l.latest:
		sql = q("JobListLatest")
	case l.batch && l.completed && !l.active:
		sql = q("JobListOfBatch")
	case l.rows():
		sql = q("JobListOfRows")
	case l.ids:
		sql = l.endedQuery()
	}
	where := strings.NewReplacer("{states}", q("JobListStates"), "{specs}", q("JobListSpecs")).Replace(q("JobListWhere"))
	sql = strings.NewReplacer("{from}", from, "{joins}", joins, "{order}", order, "{where}", where).Replace(sql)
	return withColumns(strings.NewReplacer("{dir}", dir, "{state}", state).Replace(sql))
}

// endedQuery is the statement of a list in the order of ids. Each of the states that have indexes is looked for by itself, and so is each
// spec: then an index has them in that order, and no more are looked at than are wanted.
func (l list) endedQuery() string {
	each, of, end := "", "", ""
	if l.ofSpecs {
		each, end = "(select y.* from unnest($18::int4[]) as p(id) cross join lateral ", " y)"
		of = "{table}.spec = p.id and "
	}
	fill := func(sql, table, more string) string {
		of := strings.ReplaceAll(of, "{table}", table) + more
		return strings.NewReplacer("{each}", each, "{of}", of, "{end}", end).Replace(sql)
	}
	specs := q("JobListSpecs")
	if l.ofSpecs {
		specs = ""
	}
	part := func(states, worker, more string) string {
		where := strings.NewReplacer("{states}", states, "{specs}", specs).Replace(q("JobListWhere"))
		return fill(strings.NewReplacer("{where}", where, "{worker}", q(worker)).Replace(q("JobListPart")), "d", more)
	}
	var parts []string
	for _, s := range l.rare {
		parts = append(parts, part("", "JobListRareWorker", "d.state = "+strconv.Itoa(int(s))+" and "))
	}
	if parts == nil {
		parts = []string{part(q("JobListStates"), "JobListWorker", "")}
	}
	return strings.ReplaceAll(fill(q("JobListCompleted"), "j", ""), "{parts}", strings.Join(parts, "\nunion all\n"))
}

// Ids that are made here, or by a client as they are made here, tell their moment, and are all later than this.
var firstIDs = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// idSlack is what may be between the moments of a job's id and of its creation: an id can be made ahead, and an older release gave the
// rows of a batch the time when they came.
const idSlack = 24 * time.Hour

// idRange is the range of ids that tell when they were made, and that of those that jobs between two moments can have.
func idRange(after, before, now time.Time) []any {
	last := now.Add(idSlack)
	lo, hi := firstIDs, last
	if !after.IsZero() && after.Add(-idSlack).After(lo) {
		lo = after.Add(-idSlack)
	}
	if !before.IsZero() && before.Add(idSlack).Before(hi) {
		hi = before.Add(idSlack)
	}
	out := make([]any, 0, 4)
	for _, t := range []time.Time{firstIDs, last, lo, hi} {
		out = append(out, [16]byte(idAt(t)))
	}
	return out
}
