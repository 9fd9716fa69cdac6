package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/engine"
)

// push starts the clients. They share a metronome, so that the load does not depend on the host's speed.
func (a *agent) push(ctx context.Context, clients *sync.WaitGroup) {
	beats := make(chan struct{}, a.cfg.Clients)
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(a.cfg.Rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case beats <- struct{}{}:
			default:
			}
		}
	}()
	for i := range a.cfg.Clients {
		dice := rand.New(rand.NewPCG(a.cfg.Seed, uint64(i)))
		clients.Go(func() {
			for ctx.Err() == nil && !a.quiet.Load() {
				select {
				case <-ctx.Done():
				case <-beats:
					n := 1
					if dice.IntN(1000) < a.cfg.Bulk {
						n = bulkJobs
					}
					a.ask(ctx, n)
				}
			}
		})
	}
}

// bulkJobs is the size of a bulk push.
const bulkJobs = 200

// ask asks for n jobs until they are acknowledged, always under the same ids, as clients are told to.
func (a *agent) ask(ctx context.Context, n int) {
	jobs := make([]*engine.Job, n)
	for i := range jobs {
		jobs[i] = &engine.Job{
			ID: engine.NewJobID(), Workspace: "main", Kind: engine.KindNoop, Tag: Tag, Args: []byte(`{"n": 1, "name": "a typical argument"}`),
			CreatedBy: "chaos", Email: "chaos@localhost", PermissionedAs: "u/chaos", Trigger: "api",
		}
		a.note(ledger.Record{Kind: ledger.Intent, ID: jobs[i].ID})
	}
	wait := 20 * time.Millisecond
	for ctx.Err() == nil {
		err := a.send(ctx, jobs)
		if err == nil {
			for _, j := range jobs {
				a.note(ledger.Record{Kind: ledger.Pushed, ID: j.ID, At: ledger.Now()})
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		a.note(ledger.Record{Kind: ledger.Error, ID: jobs[0].ID, Text: fmt.Sprintf("%s %s", engine.CodeOf(err), err)})
		if engine.CodeOf(err) != engine.Unavailable {
			return // asking again would not help; what became of it is settled by the database alone
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, 500*time.Millisecond)
	}
}

// send pushes the jobs, in duplicate mode twice at the same time; one acknowledgement is enough, as it is for a client that
// sends again because the first answer is late.
func (a *agent) send(ctx context.Context, jobs []*engine.Job) error {
	push := func() (err error) {
		own := make([]*engine.Job, len(jobs)) // the queue fills in what is missing
		for i, j := range jobs {
			other := *j
			own[i] = &other
		}
		if len(own) == 1 {
			_, err = a.queue.Push(ctx, own[0])
		} else {
			_, err = a.queue.PushMany(ctx, own)
		}
		return err
	}
	if !a.cfg.Twice {
		return push()
	}
	other := make(chan error, 1)
	go func() { other <- push() }()
	err := push()
	if second := <-other; err != nil {
		err = second
	}
	return err
}

// channels are those of engine/queue's notifications.
var channels = []string{"millrace_push", "millrace_cancel", "millrace_join"}

// echo sends every notification that it hears once more.
func (a *agent) echo(ctx context.Context) error {
	for _, channel := range channels {
		sub, err := a.db.Listen(ctx, channel, nil)
		if err != nil {
			return err
		}
		go func() {
			defer sub.Close()
			own := map[string]int{} // payloads that are on their way back from here
			for {
				select {
				case <-ctx.Done():
					return
				case n := <-sub.C:
					if n.Missed {
						clear(own)
						continue
					}
					if own[n.Payload] > 0 {
						own[n.Payload]--
						continue
					}
					own[n.Payload]++
					if err := a.db.Notify(ctx, channel, n.Payload); err != nil && ctx.Err() == nil {
						a.log.Warn().Err(err).Msg("repeat a notification")
					}
				}
			}
		}()
	}
	return nil
}
