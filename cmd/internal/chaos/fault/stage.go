package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

const (
	quit = syscall.SIGQUIT // to postgres: stop at once, flush nothing

	workLimit = 90 * time.Second // until a system that was hit works again
	restLimit = 2 * time.Minute  // until a system without load is at rest
)

// newLedger makes room for the next life of a process.
func (s *Stage) newLedger(name string) string {
	path := filepath.Join(s.Dir, fmt.Sprintf("%s.%03d.ledger", name, len(s.lives)))
	s.lives = append(s.lives, path)
	return path
}

// tail counts the acknowledged pushes of a ledger that still grows.
type tail struct {
	offset int64
	acks   int
	rest   []byte
}

func (t *tail) read(path string) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, t.offset, 1<<40))
	if err != nil {
		return err
	}
	t.offset += int64(len(text))
	text = append(t.rest, text...)
	for {
		line, after, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			t.rest = bytes.Clone(text)
			return nil
		}
		if len(line) > 0 && ledger.Kind(line[0]) == ledger.Pushed {
			t.acks++
		}
		text = after
	}
}

// acks counts the pushes acknowledged so far.
func (s *Stage) acks(lives ...string) (n int, err error) {
	if len(lives) == 0 {
		lives = s.lives
	}
	for _, path := range lives {
		t := s.counted[path]
		if t == nil {
			t = &tail{}
			s.counted[path] = t
		}
		if err := t.read(path); err != nil {
			return 0, err
		}
		n += t.acks
	}
	return n, nil
}

// works waits until n more pushes are acknowledged, by the processes of these ledgers or by any.
func (s *Stage) works(ctx context.Context, n int, lives ...string) error {
	from, err := s.acks(lives...)
	if err != nil {
		return err
	}
	return cluster.Until(ctx, workLimit, fmt.Sprintf("%d more pushes are acknowledged", n), func() (bool, error) {
		now, err := s.acks(lives...)
		return now >= from+n, err
	})
}

// ask runs SQL on a server that may just be coming back from a fault.
func (s *Stage) ask(ctx context.Context, sql string) (answer string, err error) {
	waited := cluster.Until(ctx, workLimit, "the server answers", func() (bool, error) {
		answer, err = s.query(ctx, sql)
		return err == nil, nil
	})
	if waited != nil && err == nil {
		err = waited
	}
	return answer, err
}

// rests waits until nothing is queued or running.
func (s *Stage) rests(ctx context.Context) error {
	last := "unknown"
	limit := restLimit
	if s.lossy {
		limit = 10 * lease
	}
	err := cluster.Until(ctx, limit, "nothing is queued or running", func() (bool, error) {
		text, err := s.query(ctx, "select count(*) from q")
		if err == nil {
			last = strings.TrimSpace(text)
		}
		return err == nil && last == "0", nil
	})
	if err != nil && ctx.Err() == nil { // the verdict names those jobs
		s.notes = append(s.notes, "does not come to rest: "+last+" jobs are left")
		return nil
	}
	return err
}

// judge compares the ledgers with the database.
func (s *Stage) judge(ctx context.Context) (*check.Result, error) {
	text, err := s.ask(ctx, check.SQL)
	if err != nil {
		return nil, err
	}
	rows, orphans, err := check.Parse(text)
	if err != nil {
		return nil, err
	}
	c := check.New()
	for _, path := range s.lives {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			continue // killed before its first word
		}
		if err := ledger.Read(path, func(r ledger.Record) { c.Add(path, r) }); err != nil {
			return nil, err
		}
	}
	result := c.Judge(rows, s.events)
	result.Orphans(orphans)
	result.Refusals = anywhere(result.Refusals, s.Dir)
	return result, nil
}

var ports = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// anywhere counts texts without what differs from run to run: the stage's folder and ports.
func anywhere(texts map[string]int, dir string) map[string]int {
	out := map[string]int{}
	for text, n := range texts {
		out[ports.ReplaceAllString(strings.ReplaceAll(text, dir, "DIR"), "HOST")] += n
	}
	return out
}
