package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// A whole daemon is killed while it runs flows of every kind of module. Their steps write down outside of it that they begin. The
// flows must end as those of the same kind that nobody disturbed, no step may begin again once one after it has begun, and no more
// steps may begin twice than were running when the daemon was killed. Workflows as code are among them, side by side in the processes of
// their scripts.
var flowKill = Fault{
	Name: "flow-kill", About: "kill -9 of millrace serve while it runs flows", Share: 20,
	Run: func(ctx context.Context, s *Stage) error {
		d, c, err := s.asked(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		f := &flowLoad{client: c, log: filepath.Join(s.Dir, "steps.log"), asked: map[uuid.UUID]int{}}
		if err := os.WriteFile(f.log, nil, 0o666); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(f.log, 0o666), os.Mkdir(f.log+".d", 0o777), os.Chmod(f.log+".d", 0o777)); err != nil { //nolint:gosec // steps run as whoever the daemon is
			return err
		}
		s.verdict = func(ctx context.Context) (*check.Result, error) { return s.judgeFlows(ctx, f) }
		return s.hurtFlows(ctx, d, f)
	},
}

// flowsPerHit is how many flows are asked for, for each kill.
const flowsPerHit = 50

// flowLoad is what was asked for. One goroutine at a time uses it.
type flowLoad struct {
	client *client.Client
	log    string
	want   []string          // results of each kind, undisturbed
	asked  map[uuid.UUID]int // flows by their number
}

// hurtFlows asks for flows, half of them while the daemon is killed, and waits until they have ended.
func (s *Stage) hurtFlows(ctx context.Context, d *daemon, f *flowLoad) error {
	if err := f.deploy(ctx); err != nil {
		return err
	}
	for kind := range kinds {
		result, err := f.client.RunWait(ctx, f.run(-1-kind))
		if err != nil {
			return fmt.Errorf("flow of kind %d, undisturbed: %w", kind, err)
		}
		f.want = append(f.want, string(result))
	}
	n := s.Hits * flowsPerHit
	for i := range n / 2 { // these are born with their first steps
		id, err := f.client.Run(ctx, f.run(i))
		if err != nil {
			return err
		}
		f.asked[id] = i
	}
	rest := make(chan error, 1)
	go func() { rest <- f.ask(ctx, n/2, n) }()
	for range s.Hits {
		if err := s.moment(ctx, 2*time.Second); err != nil {
			return err
		}
		s.struck(ledger.Now())
		if err := errors.Join(s.shoot(d), s.serve(ctx, d)); err != nil {
			return err
		}
	}
	if err := <-rest; err != nil {
		return err
	}
	return s.rests(ctx)
}

// ask asks for flows under ids of their own, each until the daemon says yes.
func (f *flowLoad) ask(ctx context.Context, from, to int) error {
	for i := from; i < to; i++ {
		id := uuid.Must(uuid.NewV7())
		f.asked[id] = i
		run := f.run(i)
		run.ID = &id
		if err := cluster.Until(ctx, workLimit, "a flow is taken", func() (bool, error) {
			_, err := f.client.Run(ctx, run)
			return err == nil, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// judgeFlows compares results and records with what was promised.
func (s *Stage) judgeFlows(ctx context.Context, f *flowLoad) (*check.Result, error) {
	text, err := s.ask(ctx, "select j.id || ' ' || coalesce(d.state, 0) || ' ' || coalesce(d.result::text, '') from job j left join done d on d.id = j.id where j.parent is null")
	if err != nil {
		return nil, err
	}
	got := map[uuid.UUID]string{}
	for line := range strings.Lines(text) {
		if id, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if id, err := uuid.Parse(id); err == nil {
				got[id] = rest
			}
		}
	}
	r := &check.Result{Pushes: len(f.asked)}
	for id, n := range f.asked {
		want := "2 " + f.want[flowKind(n)]
		switch result := got[id]; {
		case result == want:
			r.Completions++
		default:
			r.LostCompletions++
			r.Findings = append(r.Findings, fmt.Sprintf("flow %d (%s): %.200s instead of %.200s", n, id, result, want))
		}
	}
	log, err := os.ReadFile(f.log)
	if err != nil {
		return nil, err
	}
	again, wrong := readSteps(string(log), s.kills)
	for _, w := range wrong {
		r.Twice++
		r.Findings = append(r.Findings, w)
	}
	if again.steps > s.kills { // one slot
		r.Twice += again.steps - s.kills
		r.Findings = append(r.Findings, fmt.Sprintf("%d steps began again after %d kills of a daemon with one slot", again.steps, s.kills))
	}
	s.notes = append(s.notes, fmt.Sprintf("%d flows, %d steps began, %d of them again, and %d in dedicated workflows", len(f.asked), strings.Count(string(log), "\n"),
		again.steps, again.abreast))
	return r, nil
}

// run is a flow, or a workflow as code, whose steps tell its number.
func (f *flowLoad) run(n int) client.Run {
	if w := flowKind(n) - len(flowKinds); w >= 0 {
		return client.Run{Path: workflowKinds[w].path(), Args: json.RawMessage(fmt.Sprintf(`{"n": %d}`, n))}
	}
	value := strings.NewReplacer("LOG", f.log, "NUMBER", fmt.Sprint(n)).Replace(flowKinds[flowKind(n)])
	return client.Run{Flow: &wire.FlowPreview{Value: json.RawMessage(value)}}
}
