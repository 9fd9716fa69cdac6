package queue

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// A model is what a queue promises, in its plainest form: no lanes, no marks, no statements. model_test.go drives it and real
// queues through the same steps and compares them.
type model struct {
	jobs  map[uuid.UUID]*modelJob
	order []uuid.UUID          // as they were pushed
	keys  map[string]uuid.UUID // idempotency
	gone  map[int32]bool       // workers that were given up
	slots map[string]int       // places of limits
}

type modelState int16

// The states as the database has them.
const (
	modelQueued   modelState = 0
	modelRunning  modelState = 1
	modelSuccess  modelState = 2
	modelFailure  modelState = 3
	modelCanceled modelState = 4
	modelWaiting  modelState = 5 // for its limit
)

func (s modelState) done() bool { return s >= modelSuccess && s <= modelCanceled }

type modelJob struct {
	id       uuid.UUID
	tag, key string
	args     string
	limit    string
	prio     int16
	due      time.Time // as the server has stored it
	later    bool      // not due yet
	batch    bool

	state    modelState
	worker   int32
	attempt  int32
	lost     int    // in quarters
	canceled bool   // it is to be killed
	result   string // of an outcome that a worker sent
}

func (j *modelJob) String() string {
	return fmt.Sprintf("%s %s prio %d, later %v, limit %q: state %d, worker %d, attempt %d, lost %d, canceled %v, result %q", j.id, j.tag, j.prio,
		j.later, j.limit, j.state, j.worker, j.attempt, j.lost, j.canceled, j.result)
}

// modelLost is how often a job may lose its worker, alone; with others a loss counts a quarter.
const modelLost = 1

func newModel() *model {
	return &model{jobs: map[uuid.UUID]*modelJob{}, keys: map[string]uuid.UUID{}, gone: map[int32]bool{},
		slots: map[string]int{"one": 1, "two": 2}}
}

// before is the order of claims and admissions.
func (j *modelJob) before(k *modelJob) int {
	return cmp.Or(cmp.Compare(k.prio, j.prio), j.due.Compare(k.due), slices.Compare(j.id[:], k.id[:]))
}

// push stores a job; running there when direct is a worker, and its limit lets it.
func (m *model) push(j *modelJob, direct int32) {
	m.jobs[j.id] = j
	m.order = append(m.order, j.id)
	if j.key != "" {
		m.keys[j.key] = j.id
	}
	j.state = modelQueued
	if j.limit != "" {
		j.state = modelWaiting
		if m.admit(j.limit); j.state != modelQueued {
			return
		}
	}
	if direct != 0 {
		j.state, j.worker, j.attempt = modelRunning, direct, 1
	}
}

// admit lets jobs in at a limit, while there are places: the highest priority first, then the longest due.
func (m *model) admit(limit string) {
	if limit == "" {
		return
	}
	in := 0
	var waiting []*modelJob
	for _, j := range m.jobs {
		switch {
		case j.limit != limit:
		case j.state == modelQueued || j.state == modelRunning:
			in++
		case j.state == modelWaiting && !j.later:
			waiting = append(waiting, j)
		}
	}
	slices.SortFunc(waiting, (*modelJob).before)
	for _, j := range waiting[:min(len(waiting), max(m.slots[limit]-in, 0))] {
		j.state = modelQueued
	}
}

// claimable lists the jobs that could be claimed, in the order of claims.
func (m *model) claimable(tags []string) (out []*modelJob) {
	for _, j := range m.jobs {
		if j.state == modelQueued && !j.later && slices.Contains(tags, j.tag) {
			out = append(out, j)
		}
	}
	slices.SortFunc(out, (*modelJob).before)
	return out
}

// claim verifies a claim and takes it in. all: the queue knew everything, so it must have taken the right jobs, and enough.
// Between tags nothing is promised but priority.
func (m *model) claim(got []*engine.Claim, a modelAsk) error {
	could := m.claimable(a.tags)
	if a.all && len(got) != min(a.n, len(could)) {
		return fmt.Errorf("%d jobs were claimed, %d asked for, %d to be had", len(got), a.n, len(could))
	}
	taken := map[uuid.UUID]bool{}
	for _, c := range got {
		j := m.jobs[c.Job.ID]
		if j == nil || !slices.Contains(could, j) || taken[j.id] {
			return fmt.Errorf("claimed what is not to be had: %+v, which is %v", c, j)
		}
		taken[j.id] = true
		if c.Attempt != j.attempt+1 || c.Worker != a.worker || c.Job.Priority != j.prio || c.Job.Tag != j.tag || c.Job.IdempotencyKey != j.key ||
			string(c.Job.Args) != j.args {
			return fmt.Errorf("claimed as worker %d: %+v %+v, which is %v", a.worker, c, c.Job, j)
		}
	}
	if !slices.IsSortedFunc(got, func(x, y *engine.Claim) int { return m.jobs[x.Job.ID].before(m.jobs[y.Job.ID]) }) {
		return fmt.Errorf("claims in no order: %v", got)
	}
	for _, left := range could {
		if taken[left.id] || !a.all {
			continue
		}
		for _, c := range got {
			j := m.jobs[c.Job.ID]
			if j.prio < left.prio || j.prio == left.prio && j.tag == left.tag && left.before(j) < 0 {
				return fmt.Errorf("claimed %v and left %v", j, left)
			}
		}
	}
	for _, c := range got {
		j := m.jobs[c.Job.ID]
		j.state, j.worker, j.attempt = modelRunning, c.Worker, c.Attempt
	}
	return nil
}

// modelAsk is what was asked for in a claim.
type modelAsk struct {
	tags   []string
	n      int
	worker int32
	all    bool
}

// owns says whether an attempt has the job in hand.
func (m *model) owns(o engine.Outcome) bool {
	j := m.jobs[o.ID]
	return j.state == modelRunning && j.worker == o.Worker && j.attempt == o.Attempt
}

// finish takes an outcome in; false: it is refused.
func (m *model) finish(o engine.Outcome) bool {
	j := m.jobs[o.ID]
	if j.state.done() {
		return j.result == string(o.Result) && j.worker == o.Worker && j.attempt == o.Attempt // it may be sent again
	}
	if !m.owns(o) {
		return false
	}
	j.state = map[engine.JobState]modelState{engine.StateSuccess: modelSuccess, engine.StateFailure: modelFailure, engine.StateCanceled: modelCanceled}[o.State]
	j.result = string(o.Result)
	m.admit(j.limit)
	return true
}

// handBack takes a job back, unless it is another's by now. What is to be canceled is.
func (m *model) handBack(o engine.Outcome) {
	j := m.jobs[o.ID]
	switch {
	case !m.owns(o):
	case j.canceled:
		j.state = modelCanceled
		m.admit(j.limit)
	default:
		j.state, j.worker = modelQueued, 0
	}
}

// cancel says what becomes of a job that is to be canceled; false: it is done already.
func (m *model) cancel(id uuid.UUID) bool {
	j := m.jobs[id]
	switch {
	case j.state.done():
		return false
	case j.state == modelRunning:
		j.canceled = true
	default:
		j.state, j.worker = modelCanceled, 0
		m.admit(j.limit)
	}
	return true
}

// rescue takes the jobs of workers that are gone.
func (m *model) rescue() {
	with := map[int32]int{} // a worker's jobs
	for _, j := range m.jobs {
		if j.state == modelRunning {
			with[j.worker]++
		}
	}
	for _, j := range m.jobs {
		if j.state != modelRunning || !m.gone[j.worker] {
			continue
		}
		switch {
		case j.canceled:
			j.state = modelCanceled
		case j.lost >= 4*modelLost:
			j.state = modelFailure
		default:
			if with[j.worker] > 1 {
				j.lost++
			} else {
				j.lost += 4
			}
			j.state, j.worker = modelQueued, 0
		}
	}
	for limit := range m.slots {
		m.admit(limit)
	}
}

// later makes due what was scheduled for later.
func (m *model) timePasses(by time.Duration) {
	for _, j := range m.jobs {
		if j.later {
			j.later, j.due = false, j.due.Add(-by)
		}
	}
	for limit := range m.slots {
		m.admit(limit)
	}
}
