package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// crowd is a number of HTTP clients, which are never hurt: they write down what they are told.
type crowd struct {
	ledger  *ledger.Writer
	over    atomic.Bool
	all     sync.WaitGroup
	failure chan error
}

const (
	crowdSize   = 12
	crowdPause  = 10 * time.Millisecond // between two asks of a client
	answerLimit = 20 * time.Second
)

// clients starts the crowd: every client asks one daemon after the other.
func (s *Stage) clients(daemons []*daemon) (*crowd, error) {
	c := &crowd{failure: make(chan error, crowdSize)}
	var err error
	if c.ledger, err = ledger.Open(s.newLedger("clients")); err != nil {
		return nil, err
	}
	var doors []*http.Client
	for _, d := range daemons {
		socket := d.socket()
		doors = append(doors, &http.Client{Timeout: answerLimit, Transport: &http.Transport{
			MaxIdleConnsPerHost: crowdSize,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		}})
	}
	for i := range crowdSize {
		c.all.Go(func() {
			for n := i; !c.over.Load(); n++ {
				if err := c.one(doors, n); err != nil {
					c.failure <- err
					return
				}
			}
		})
	}
	return c, nil
}

// stop has every client finish what it began.
func (c *crowd) stop() error {
	c.over.Store(true)
	c.all.Wait()
	close(c.failure)
	var errs []error
	for err := range c.failure {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.ledger.Close())...)
}

// one asks for a job until a daemon says yes, always under the same id; every second one waits for the result.
func (c *crowd) one(doors []*http.Client, n int) error {
	id := uuid.Must(uuid.NewV7())
	if err := c.ledger.Add(ledger.Record{Kind: ledger.Intent, ID: id}); err != nil {
		return err
	}
	verb := "run"
	if n%2 == 0 {
		verb = "run_wait_result"
	}
	for try := 0; ; try++ {
		result, err := ask(doors[(n+try)%len(doors)], verb, id)
		at := ledger.Now()
		switch {
		case err != nil:
			if err := c.ledger.Add(ledger.Record{Kind: ledger.Error, ID: id, Text: err.Error()}); err != nil {
				return err
			}
		default:
			if err := c.ledger.Add(ledger.Record{Kind: ledger.Pushed, ID: id, At: at}); err != nil {
				return err
			}
			if verb == "run_wait_result" {
				if err := c.ledger.Add(ledger.Record{Kind: ledger.Answered, ID: id, At: at, Text: result}); err != nil {
					return err
				}
			}
		}
		pause := time.NewTimer(crowdPause)
		<-pause.C
		if err == nil {
			return nil
		}
		if c.over.Load() && try > 200 {
			return fmt.Errorf("job %s is not taken: %w", id, err)
		}
	}
}

// ask sends one request. Errors are texts without ids, so that they can be counted.
func ask(door *http.Client, verb string, id uuid.UUID) (string, error) {
	answer, err := door.Post("http://daemon/api/w/main/jobs/"+verb+"/noop?job_id="+id.String(), "application/json", bytes.NewReader([]byte(`{"n":1}`)))
	if err != nil {
		return "", errors.New("connection: " + kindOf(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", errors.New("answer: " + kindOf(err))
	}
	if answer.StatusCode/100 != 2 {
		return "", fmt.Errorf("status %d: %.200s", answer.StatusCode, bytes.ReplaceAll(body, []byte(id.String()), []byte("ID")))
	}
	return string(bytes.TrimSpace(body)), nil
}

// kindOf is the innermost reason of a network error.
func kindOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
