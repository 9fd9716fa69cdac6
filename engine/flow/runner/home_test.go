package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/engine/store/storetest"
)

const sameWorker = `{"same_worker":true,"modules":`

// homes has steps tell in which folder they run; steps that run anywhere tell of none.
func (b *box) homes() {
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		id := uuid.Nil
		if j.Tag == "home-box" {
			var err error
			if id, err = b.runner.Folder(b.t.Context(), j); err != nil {
				return json.RawMessage(`"` + string(engine.CodeOf(err)) + `"`), false
			}
		}
		out, err := json.Marshal(id)
		return out, err == nil
	}
}

// TestHome: all steps of a flow with same_worker have its folder: those in loops, after a wait or an approval, in a flow within it, which
// may say the same; and it is left once.
func TestHome(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	c := b.steer()
	b.homes()
	b.deploy("f/x/in", &format.Flow{Value: value(t, sameWorker+`[`+raw("i", "i", "", "")+`]}`)})
	text := sameWorker + `[` + raw("a", "a", "", `"suspend":{"required_events":1}`) + `,` + raw("s", "s", "", `"sleep":{"type":"static","value":0.05}`) +
		`,{"id":"l","value":{"type":"forloopflow","parallel":true,"iterator":{"type":"static","value":[1,2]},"modules":[` + raw("x", "x", "", "") + `,` + raw("y", "y", "", "") + `]}}` +
		`,{"id":"f","value":{"type":"flow","path":"f/x/in","input_transforms":{}}},` +
		raw("z", "z", js("all", "[results.a, results.s, ...results.l, results.f]"), "") + `]}`
	var seen json.RawMessage
	step := b.step
	b.step = func(j *engine.Job) (json.RawMessage, bool) {
		if j.Source == "z" {
			seen = j.Args
		}
		return step(j)
	}
	id, _ := b.ask(text, `{}`)
	b.until(c, id, "waiting", func(s *engine.FlowStatus) bool { return s.Modules[1].Type == engine.ModuleWaitsForEvents })
	code(t, c.Resume(t.Context(), ann, engine.Answer{Workspace: "main", Job: id, Approved: true}), "", "the owner")
	if o := b.outcome(id); string(o.Result) != `"`+id.String()+`"` {
		t.Fatalf("%s with %s", o.State, o.Result)
	}
	var got struct{ All []uuid.UUID }
	if err := json.Unmarshal(seen, &got); err != nil || !slices.Equal(got.All, []uuid.UUID{id, id, id, id, id}) {
		t.Errorf("the folders of the steps: %s", seen)
	}
	b.leaves(id)
	b.empty()
}

// leaves waits until exactly the folder of id has been left.
func (b *box) leaves(id uuid.UUID) {
	b.t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		b.mu.Lock()
		gone := slices.Clone(b.gone)
		b.mu.Unlock()
		if slices.Equal(gone, []uuid.UUID{id}) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			b.t.Fatalf("left %v, wanted %s", gone, id)
		}
	}
}

// TestHomeOfAFlowWithin: a flow with same_worker that another one without it names has a folder of its own, and the others have none.
func TestHomeOfAFlowWithin(t *testing.T) {
	t.Parallel()
	b := open(t, storetest.URL(t), nil)
	b.homes()
	b.deploy("f/x/in", &format.Flow{Value: value(t, sameWorker+`[`+raw("i", "i", "", "")+`,`+raw("k", "k", "", "")+`]}`)})
	o := b.run(modules(`{"id":"f","value":{"type":"flow","path":"f/x/in","input_transforms":{}}}`), `{}`)
	var within uuid.UUID
	if err := json.Unmarshal(o.Result, &within); err != nil || within == uuid.Nil || within == o.ID {
		t.Errorf("%s with %s", o.State, o.Result)
	}
	b.leaves(within)
	if o := b.run(modules(raw("a", "a", "", "")), `{}`); string(o.Result) != `"`+uuid.Nil.String()+`"` {
		t.Errorf("%s with %s", o.State, o.Result)
	}
}

// TestHomeLost: what another life of the daemon began ends as a failure when a step has ended there, and goes on when none has.
func TestHomeLost(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		flow  string
		state engine.JobState
	}{
		"a step has ended": {sameWorker + `[` + raw("a", "a", "", `"sleep":{"type":"static","value":1}`) + `,` + raw("b", "b", "", "") + `]}`, engine.StateFailure},
		"none has":         {sameWorker + `[` + raw("b", "b", "", "") + `]}`, engine.StateSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := storetest.URL(t)
			first := prepare(t, url, nil)
			for _, err := range []error{first.queue.Start(t.Context()), first.work.Start(t.Context(), first.queue), first.runner.Start(t.Context())} {
				if err != nil {
					t.Fatal(err)
				}
			}
			first.homes()
			step, begun := first.step, make(chan struct{}, 2)
			first.step = func(j *engine.Job) (json.RawMessage, bool) {
				begun <- struct{}{}
				if x.state == engine.StateSuccess {
					return json.RawMessage("hold"), true
				}
				return step(j)
			}
			id, _ := first.ask(x.flow, `{}`)
			<-begun
			at, cancel := context.WithCancel(t.Context())
			cancel()
			first.work.Drain(at)
			first.runner.Stop()
			first.queue.Stop()
			second := prepare(t, url, nil)
			second.homes()
			second.end(id)
			second.start()
			if o := second.outcome(id); o.State != x.state {
				t.Errorf("%s with %s", o.State, o.Result)
			}
			second.leaves(id)
		})
	}
}
