package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/agent"
	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/child"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/engine/store"

	"github.com/rs/zerolog"
)

// The leases of agents are short, so that a run sees many of them run out.
const (
	lease     = 2 * time.Second
	heartbeat = 400 * time.Millisecond
	poll      = 400 * time.Millisecond
	// takeUp is how long the jobs of a dead worker may wait for another: its lease, the heartbeat at which the others look, the
	// poll of those that are not woken, and what a busy host of two cores may be late.
	takeUp = lease + 2*heartbeat + poll + 2*time.Second
)

// Agent is a worker process; each of its lives has a ledger of its own.
type Agent struct {
	cfg   agent.Config
	proc  *child.Child
	stdin io.WriteCloser
	words <-chan string
}

// life is the ledger of its present life.
func (a *Agent) life() string { return a.cfg.Ledger }

// fleet prepares the database and starts n agents over url.
func (s *Stage) fleet(ctx context.Context, n int, url string, change func(*agent.Config)) error {
	db, err := store.Open(ctx, store.Config{URL: s.db.URL(), Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	_, _, err = db.Partition(ctx, time.Now(), 1, 0)
	db.Close()
	if err != nil {
		return err
	}
	for i := range n {
		cfg := agent.Config{
			URL: url, Name: fmt.Sprintf("agent%d", i+1), Clients: 24, Rate: 900 / n, Slots: 48, Slow: 6, Bulk: 2,
			Lease: lease, Heartbeat: heartbeat, Poll: poll, RetryFor: 3 * time.Second, Seed: s.Seed + uint64(i),
		}
		if change != nil {
			change(&cfg)
		}
		a := &Agent{cfg: cfg}
		s.agents = append(s.agents, a)
		if err := s.begin(ctx, a); err != nil {
			return err
		}
	}
	s.onEnd(func() {
		for _, a := range s.agents {
			_ = a.proc.Kill() // most are gone
		}
	})
	return s.works(ctx, 200)
}

// begin starts the next life of an agent.
func (s *Stage) begin(ctx context.Context, a *Agent) error {
	a.cfg.Ledger = s.newLedger(a.cfg.Name)
	config, err := json.Marshal(a.cfg)
	if err != nil {
		return err
	}
	logs, err := os.OpenFile(filepath.Join(s.Dir, a.cfg.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logs.Close()
	cmd := exec.Command(s.Self, "agent", string(config))
	cmd.Stderr = logs
	if a.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout = in
	a.proc, err = child.Start(cmd, syscall.SIGKILL)
	in.Close()
	if err != nil {
		return err
	}
	words := make(chan string, 4)
	a.words = words
	go func() {
		defer out.Close()
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			words <- lines.Text()
		}
		close(words)
	}()
	return a.says(ctx, "ready")
}

// says waits for a word of the agent.
func (a *Agent) says(ctx context.Context, word string) error {
	limit := time.NewTimer(workLimit)
	defer limit.Stop()
	select {
	case got, ok := <-a.words:
		if !ok || got != word {
			return fmt.Errorf("%s ended; its log says why", a.cfg.Name)
		}
		return nil
	case <-limit.C:
		return fmt.Errorf("%s does not say %s", a.cfg.Name, word)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends an agent's life in the middle of whatever it does. within bounds how long its jobs may wait for others.
func (s *Stage) kill(a *Agent, within time.Duration) error {
	s.events = append(s.events, check.Event{At: ledger.Now(), Life: a.life(), Limit: within})
	s.hits++
	s.kills++
	return a.proc.Kill()
}

// workers returns the numbers that an agent has had in its present life.
func (s *Stage) workers(ctx context.Context, a *Agent) (string, error) {
	text, err := s.ask(ctx, "select id from worker where pid = "+strconv.Itoa(a.proc.PID))
	if err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(text), ","), nil
}

// rescued waits until nothing runs for workers any more.
func (s *Stage) rescued(ctx context.Context, workers string) error {
	return cluster.Until(ctx, workLimit, "the jobs of worker "+workers+" are rescued", func() (bool, error) {
		text, err := s.query(ctx, "select count(*) from q where state = 1 and worker in ("+workers+")")
		return err == nil && strings.TrimSpace(text) == "0", nil
	})
}

// settle ends the load, waits until everything is at rest and has the agents leave.
func (s *Stage) settle(ctx context.Context) error {
	for _, a := range s.agents {
		if _, err := io.WriteString(a.stdin, "quiet\n"); err != nil {
			return fmt.Errorf("%s: %w", a.cfg.Name, err)
		}
		if err := a.says(ctx, "quiet"); err != nil {
			return err
		}
	}
	if err := s.rests(ctx); err != nil {
		return err
	}
	for _, a := range s.agents {
		a.stdin.Close()
		if err := a.proc.Wait(workLimit); err != nil {
			return fmt.Errorf("%s: %w", a.cfg.Name, err)
		}
	}
	return nil
}

// hurt does hit as often as wanted, each time after a random moment, and waits until the system works again.
func (s *Stage) hurt(ctx context.Context, most time.Duration, hit func(i int) error) error {
	for i := range s.Hits {
		if err := s.moment(ctx, most); err != nil {
			return err
		}
		if err := hit(i); err != nil {
			return err
		}
		if err := s.works(ctx, 100); err != nil {
			return err
		}
	}
	return s.settle(ctx)
}

// any picks one of the agents.
func (s *Stage) any() *Agent { return s.agents[s.rand.IntN(len(s.agents))] }
