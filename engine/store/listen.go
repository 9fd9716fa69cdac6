package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Notification is one NOTIFY. After a lost connection, when some may have been missed, subscribers get one with Missed set.
type Notification struct {
	Channel string
	Payload string
	Missed  bool
}

// Subscription receives the notifications of one channel until Close.
type Subscription struct {
	// C is never closed. When its buffer is full the oldest gives way to one with Missed set.
	C chan Notification

	hub     *hub
	channel string
	keep    func(payload string) bool
}

// Listen subscribes to a channel. All subscriptions share one connection, which is made at the first and made again, with
// backoff, when it breaks. keep filters payloads; nil keeps all. Listen returns when the server is listening, or with ctx's
// error.
func (db *DB) Listen(ctx context.Context, channel string, keep func(payload string) bool) (*Subscription, error) {
	return db.hub.subscribe(ctx, channel, keep)
}

// Notify sends payload to the listeners of channel, on a side connection.
func (db *DB) Notify(ctx context.Context, channel, payload string) error {
	if _, err := db.quick.Exec(ctx, q("Notify"), channel, payload); err != nil {
		return fmt.Errorf("notify %s: %w", channel, err)
	}
	return nil
}

// Close ends the subscription; safe to call twice.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
}

// hub owns the listening connection: one goroutine, run, started by the first subscription.
type hub struct {
	db     *DB
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	subs    map[*Subscription]bool
	started bool
	poke    context.CancelFunc       // ends the current wait, so that run looks at waiting
	waiting map[string][]chan<- bool // channels to LISTEN on and who waits for that
}

func newHub(db *DB) *hub {
	h := &hub{db: db, subs: map[*Subscription]bool{}, waiting: map[string][]chan<- bool{}, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *hub) close() {
	h.cancel()
	h.mu.Lock()
	started := h.started
	h.started = true
	h.mu.Unlock()
	if started {
		<-h.done
	} else {
		close(h.done)
	}
}

func (h *hub) subscribe(ctx context.Context, channel string, keep func(string) bool) (*Subscription, error) {
	s := &Subscription{C: make(chan Notification, 64), hub: h, channel: channel, keep: keep}
	ready := make(chan bool, 1)
	h.mu.Lock()
	h.subs[s] = true
	h.waiting[channel] = append(h.waiting[channel], ready)
	if h.poke != nil {
		h.poke()
	}
	if !h.started {
		h.started = true
		go h.run()
	}
	h.mu.Unlock()
	select {
	case <-ready:
		return s, nil
	case <-h.done:
		s.Close()
		return nil, fmt.Errorf("listen %s: database is closed", channel)
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("listen %s: %w", channel, ctx.Err())
	}
}

func (h *hub) run() {
	defer close(h.done)
	backoff := 50 * time.Millisecond
	for again := false; h.ctx.Err() == nil; again = true {
		began := time.Now()
		err := h.session(again)
		if h.ctx.Err() != nil {
			return
		}
		h.db.log.Warn().Err(err).Msg("listening connection lost, connecting again")
		if time.Since(began) > 10*time.Second {
			backoff = 50 * time.Millisecond
		}
		select {
		case <-h.ctx.Done():
		case <-time.After(backoff + rand.N(backoff)):
		}
		backoff = min(2*backoff, 5*time.Second)
	}
}

// session is the life of one connection; it returns why it ended. again: it is not the first.
func (h *hub) session(again bool) error {
	c, err := pgx.ConnectConfig(h.ctx, h.db.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(h.ctx)) //nolint:errcheck // nothing is lost with it
	defer h.db.lost()
	listening := map[string]bool{}
	for h.ctx.Err() == nil {
		wait, cancel, answer := h.prepare(listening)
		for channel := range answer {
			if listening[channel] {
				continue
			}
			if _, err := c.Exec(h.ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
				cancel()
				h.restore(answer)
				return err
			}
			listening[channel] = true
		}
		h.answered(answer, again)
		again = false
		n, err := c.WaitForNotification(wait)
		poked := wait.Err() != nil
		cancel()
		if err == nil {
			h.deliver(Notification{Channel: n.Channel, Payload: n.Payload})
		} else if !poked || c.IsClosed() {
			return err
		}
	}
	return h.ctx.Err()
}

// prepare takes the channels that are to be listened on and not yet are, with those who wait, and arms the poke.
func (h *hub) prepare(listening map[string]bool) (context.Context, context.CancelFunc, map[string][]chan<- bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answer := h.waiting
	h.waiting = map[string][]chan<- bool{}
	for s := range h.subs {
		if _, ok := answer[s.channel]; !ok && !listening[s.channel] {
			answer[s.channel] = nil
		}
	}
	wait, cancel := context.WithCancel(h.ctx)
	h.poke = cancel
	return wait, cancel, answer
}

// restore puts back who waits for channels that could not be listened on.
func (h *hub) restore(answer map[string][]chan<- bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for channel, waiters := range answer {
		h.waiting[channel] = append(h.waiting[channel], waiters...)
	}
}

// answered tells those who waited that the server listens; after a reconnection, everybody that something may be missing.
func (h *hub) answered(answer map[string][]chan<- bool, again bool) {
	for _, waiters := range answer {
		for _, w := range waiters {
			w <- true
		}
	}
	if again {
		h.deliver(Notification{Missed: true})
	}
}

// deliver hands n to the subscriptions of its channel, without ever waiting for them.
func (h *hub) deliver(n Notification) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if !n.Missed && (s.channel != n.Channel || (s.keep != nil && !s.keep(n.Payload))) {
			continue
		}
		out := n
		out.Channel = s.channel
		select {
		case s.C <- out:
			continue
		default:
		}
		select { // full: the oldest makes room for the news that something was dropped
		case <-s.C:
		default:
		}
		s.C <- Notification{Channel: s.channel, Missed: true} // only this goroutine sends
	}
}
