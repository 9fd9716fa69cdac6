package contact_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/contact"
	"github.com/millrace/millrace/engine/store/storetest"
	"github.com/millrace/millrace/sandbox"
)

var some = []sandbox.Contact{
	{Name: "api.example", Protocol: "dns", Count: 1},
	{Name: "api.example", Address: netip.MustParseAddr("203.0.113.5"), Port: 443, Protocol: "tcp", Count: 3},
	{Address: netip.MustParseAddr("10.0.0.1"), Port: 53, Protocol: "udp", Refused: true, Count: 2},
}

func check(t *testing.T, got []engine.Contact) {
	t.Helper()
	if len(got) != 3 || got[1] != (engine.Contact{Name: "api.example", Address: "203.0.113.5", Port: 443, Protocol: "tcp", Count: 3}) || !got[2].Refused {
		t.Errorf("got %+v", got)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), storetest.New(t)
	r := contact.New(db, storetest.Log(t))
	job := engine.NewJobID()
	r.Begin(job)
	r.End(job, some)
	got, err := r.Of(ctx, job, true) // before it is stored
	if err != nil {
		t.Fatal(err)
	}
	check(t, got)
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	r.Stop()
	if got, err = contact.New(db, storetest.Log(t)).Of(ctx, job, true); err != nil {
		t.Fatal(err)
	}
	check(t, got)
	if got, err = r.Of(ctx, engine.NewJobID(), true); err != nil || len(got) != 0 {
		t.Errorf("another job: %+v, %v", got, err)
	}
}

// forgetful fails a number of times.
type forgetful struct {
	mu     sync.Mutex
	fails  int
	stored map[uuid.UUID]int
}

func (f *forgetful) ContactInsert(_ context.Context, jobs []uuid.UUID, _ []json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails > 0 {
		f.fails--
		return errors.New("no database")
	}
	for _, j := range jobs {
		f.stored[j]++
	}
	return nil
}

func (f *forgetful) ContactRead(context.Context, uuid.UUID) ([]json.RawMessage, error) {
	return nil, nil
}

func TestEndIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := &forgetful{stored: map[uuid.UUID]int{}}
	r := contact.New(f, zerolog.Nop())
	job := engine.NewJobID()
	r.Begin(job)
	if got, err := r.Of(t.Context(), job, false); err != nil || len(got) != 0 {
		t.Errorf("while it runs: %+v, %v", got, err)
	}
	asked := make(chan []engine.Contact)
	go func() {
		got, err := r.Of(t.Context(), job, true)
		if err != nil {
			t.Error(err)
		}
		asked <- got
	}()
	r.End(job, some)
	check(t, <-asked)
}

func TestNothingContactedIsNotStored(t *testing.T) {
	t.Parallel()
	f := &forgetful{stored: map[uuid.UUID]int{}}
	r := contact.New(f, zerolog.Nop())
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	job, other := engine.NewJobID(), engine.NewJobID()
	r.Begin(job)
	r.End(job, nil)
	r.Begin(other)
	r.End(other, some)
	r.Stop()
	if f.stored[job] != 0 || f.stored[other] != 1 {
		t.Errorf("stored %v", f.stored)
	}
}
