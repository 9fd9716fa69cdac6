// Package fault inflicts faults on the product, one file a fault. A fault builds its stage (a database, workers or whole
// daemons, perhaps a proxy), hits as often as it was told, each time waiting until the system works again, and lets it come
// to rest. What was promised meanwhile is then compared with the database by package check.
package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
)

// Fault is a kind of misfortune.
type Fault struct {
	Name  string
	About string // what is done, in a few words
	// Share is its part of the kills that are asked for, in two hundredths, for faults that kill processes; Hits is how often
	// the others hit when so many kills are asked for. One of the two is set.
	Share int
	Hits  func(kills int) int
	// Cannot says why this host does not allow it; "" when it does. Nil: every host does.
	Cannot func() string
	Run    func(ctx context.Context, s *Stage) error
	// MustLose marks the control: a run that breaks no promise shows that the check is blind.
	MustLose bool
}

// All lists the faults in the order in which they are inflicted.
func All() []Fault {
	return []Fault{
		workerKill, oneOfThree, backendKill, postmasterKill, daemonKill, flowKill, scheduleKill, batchKill, daemonOneOfThree, daemonPostgres,
		terminate, stopped, reset, diskFull, clockJump, twice, control,
	}
}

// Stage is where a fault plays. One goroutine uses it.
type Stage struct {
	Dir    string // of this run
	Self   string // this program, to start agents
	Daemon string // the millrace binary
	Seed   uint64
	Hits   int // wanted

	rand    *rand.Rand
	db      *cluster.Cluster
	lossy   bool // the stage of a control: what is lost may never come to rest
	query   func(ctx context.Context, sql string) (string, error)
	lives   []string // ledgers, in order
	counted map[string]*tail
	agents  []*Agent
	events  []check.Event
	cleanup []func()
	kills   int
	hits    int
	notes   []string
	verdict func(ctx context.Context) (*check.Result, error) // in place of the ledgers' comparison
	demands []func(*check.Result) string                     // beyond the promises: what shows that the fault struck at all
}

// Report is what came out of a run.
type Report struct {
	Fault   string  `json:"fault"`
	About   string  `json:"about"`
	Runs    int     `json:"runs"` // stages that were built
	Hits    int     `json:"hits"`
	Kills   int     `json:"kills"` // processes killed
	Seconds float64 `json:"seconds"`
	*check.Result
	Skipped string   `json:"skipped,omitempty"`
	Failed  string   `json:"failed,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Control bool     `json:"must_lose,omitempty"`
}

// OK says whether the run showed what it should.
func (r *Report) OK() bool {
	if r.Skipped != "" {
		return true
	}
	return r.Failed == "" && (r.Violations() == 0) != r.Control
}

// Inflict runs f on s.
func (f Fault) Inflict(ctx context.Context, s *Stage) *Report {
	r := &Report{Fault: f.Name, About: f.About, Result: &check.Result{}, Control: f.MustLose}
	if f.Cannot != nil {
		if r.Skipped = f.Cannot(); r.Skipped != "" {
			return r
		}
	}
	began := time.Now()
	s.rand = rand.New(rand.NewPCG(s.Seed, 1))
	s.counted, s.lossy = map[string]*tail{}, f.MustLose
	err := s.run(ctx, f, r)
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		s.cleanup[i]()
	}
	r.Runs, r.Hits, r.Kills, r.Notes = 1, s.hits, s.kills, s.notes
	r.Seconds = time.Since(began).Round(100 * time.Millisecond).Seconds()
	if err != nil {
		r.Failed = err.Error()
	}
	return r
}

func (s *Stage) run(ctx context.Context, f Fault, r *Report) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if err := f.Run(ctx, s); err != nil {
		return err
	}
	judge := s.judge
	if s.verdict != nil {
		judge = s.verdict
	}
	result, err := judge(ctx)
	if err != nil {
		return err
	}
	r.Result = result
	for _, demand := range s.demands {
		if missing := demand(result); missing != "" {
			return fmt.Errorf("the fault did not strike as it should: %s", missing)
		}
	}
	return nil
}

// onEnd registers what undoes a part of the stage.
func (s *Stage) onEnd(f func()) { s.cleanup = append(s.cleanup, f) }

// demand adds a condition without which a run proves nothing.
func (s *Stage) demand(f func(*check.Result) string) { s.demands = append(s.demands, f) }

// struck notes that everybody was hit, now.
func (s *Stage) struck(at int64) {
	s.hits++
	s.events = append(s.events, check.Event{At: at})
}

// moment waits for a random while: faults come when they come.
func (s *Stage) moment(ctx context.Context, most time.Duration) error {
	return wait(ctx, time.Duration(s.rand.Int64N(int64(most))))
}

// wait lets time pass, where time itself is what is wanted.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startDatabase makes and starts a server in a folder of the stage.
func (s *Stage) startDatabase(ctx context.Context, cfg cluster.Config) error {
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(s.Dir, "db")
		if err := os.Mkdir(cfg.Dir, 0o755); err != nil {
			return err
		}
	}
	var err error
	if s.db, err = cluster.New(ctx, cfg); err != nil {
		return err
	}
	s.query = s.db.Query
	s.onEnd(func() { _ = s.db.Stop(context.Background(), quit) })
	return s.db.Start(ctx)
}
