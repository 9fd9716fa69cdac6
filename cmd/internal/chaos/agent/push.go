package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

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
	for range a.cfg.Clients {
		clients.Go(func() {
			for ctx.Err() == nil && !a.quiet.Load() {
				select {
				case <-ctx.Done():
				case <-beats:
					a.one(ctx)
				}
			}
		})
	}
}

// one asks for a job until it is acknowledged, always under the same id, as clients are told to.
func (a *agent) one(ctx context.Context) {
	id := engine.NewJobID()
	a.note(ledger.Record{Kind: ledger.Intent, ID: id})
	wait := 20 * time.Millisecond
	for ctx.Err() == nil {
		err := a.send(ctx, id)
		if err == nil {
			a.note(ledger.Record{Kind: ledger.Pushed, ID: id, At: ledger.Now()})
			return
		}
		if ctx.Err() != nil {
			return
		}
		a.note(ledger.Record{Kind: ledger.Error, ID: id, Text: fmt.Sprintf("%s %s", engine.CodeOf(err), err)})
		if engine.CodeOf(err) != engine.Unavailable && !strings.Contains(err.Error(), "SQLSTATE 53") {
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

// send pushes the job, in duplicate mode twice at the same time; one acknowledgement is enough, as it is for a client that
// sends again because the first answer is late.
func (a *agent) send(ctx context.Context, id uuid.UUID) error {
	push := func() error {
		_, err := a.queue.Push(ctx, &engine.Job{
			ID: id, Workspace: "main", Kind: engine.KindNoop, Tag: Tag, Args: []byte(`{"n": 1, "name": "a typical argument"}`),
			CreatedBy: "chaos", Email: "chaos@localhost", PermissionedAs: "u/chaos", Trigger: "api",
		})
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
