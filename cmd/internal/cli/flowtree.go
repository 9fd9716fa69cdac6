package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/web/client"
)

// flowTree shows the steps of a flow at work: on a terminal a tree that is drawn again in its place, elsewhere a line whenever
// the state of a step changes.
type flowTree struct {
	w    io.Writer
	tty  bool
	now  func() time.Time
	size func() (columns, lines int)

	mu     sync.Mutex
	names  map[string]string                // of the modules, by id
	root   *client.FlowStatus               // nil: not known yet
	within map[uuid.UUID]*client.FlowStatus // of iterations and flows at work; nil: a job that is no flow
	said   map[string]string                // the states that lines were written of
	drawn  int                              // lines of the tree that stand there
	err    error                            // the first of writing
}

const (
	treeEvery   = 200 * time.Millisecond
	deepestTree = 6 // flows in flows that are looked into
)

func newFlowTree(w io.Writer) *flowTree {
	t := &flowTree{w: w, tty: IsTerminal(w), now: time.Now, names: map[string]string{}, within: map[uuid.UUID]*client.FlowStatus{}, said: map[string]string{}}
	t.size = func() (int, int) {
		if f, ok := w.(*os.File); ok {
			if s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && s.Col > 0 && s.Row > 1 {
				return int(s.Col), int(s.Row)
			}
		}
		return 80, 24
	}
	return t
}

// follow shows a flow until it ends, and returns its job then.
func (t *flowTree) follow(ctx context.Context, cl *client.Client, id uuid.UUID) (*client.Job, error) {
	j, err := cl.Job(ctx, id, false)
	if err != nil {
		return nil, err
	}
	t.learn(j)
	if t.tty {
		rest := t.animate(ctx, cl)
		defer rest()
	} else {
		t.write("job " + id.String() + "\n")
	}
	return cl.Follow(ctx, id, func(u client.Update) error {
		status := u.FlowStatus
		if u.Job != nil && u.Job.FlowStatus != nil {
			status = u.Job.FlowStatus
		}
		return t.update(status, u.NewLogs+u.NewResultStream)
	})
}

// learn takes the names of modules from what a flow runs.
func (t *flowTree) learn(j *client.Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(j.RawFlow) == 0 {
		return
	}
	f, err := format.Parse([]byte(`{"summary":"","value":` + string(j.RawFlow) + `}`))
	if err != nil {
		return // without names the steps have their ids
	}
	for _, m := range []*format.Module{f.Value.PreprocessorModule, f.Value.FailureModule} {
		if m != nil {
			t.names[m.ID] = m.Summary
		}
	}
	t.learnModules(f.Value.Modules)
}

func (t *flowTree) learnModules(modules []*format.Module) {
	for _, m := range modules {
		if t.names[m.ID] = firstLine(m.Summary); m.Summary == "" && m.Value != nil {
			t.names[m.ID] = m.Value.Kind()
		}
		for _, body := range m.Bodies() {
			t.learnModules(body.List)
		}
	}
}

// update takes what a stream brings.
func (t *flowTree) update(status *client.FlowStatus, logs string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if status != nil {
		t.root = status
	}
	if t.tty {
		t.draw(logs)
		return t.err
	}
	t.write(logs)
	if status != nil {
		for _, m := range modulesOf(status) {
			if state := stateOf(m); state != "" && t.said[m.ID] != state {
				t.said[m.ID] = state
				t.write(strings.TrimRight(t.line(m, 0), " ") + "\n" + logsOf(m))
			}
		}
	}
	return t.err
}

func (t *flowTree) write(s string) {
	if s == "" || t.err != nil {
		return
	}
	if _, err := io.WriteString(t.w, s); err != nil {
		t.err = fmt.Errorf("show the flow: %w", err)
	}
}

// animate draws the tree again and again, and looks into what is at work, until it is stopped.
func (t *flowTree) animate(ctx context.Context, cl *client.Client) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(treeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			t.mu.Lock()
			root := t.root
			t.mu.Unlock()
			t.lookInto(ctx, cl, root, deepestTree)
			t.mu.Lock()
			t.draw("")
			t.mu.Unlock()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// lookInto asks for the status of the iterations and flows at work. What cannot be had now is not shown.
func (t *flowTree) lookInto(ctx context.Context, cl *client.Client, status *client.FlowStatus, depth int) {
	if status == nil || depth == 0 {
		return
	}
	for _, m := range modulesOf(status) {
		id, ok := partAtWork(m)
		if !ok {
			continue
		}
		t.mu.Lock()
		known, asked := t.within[id]
		t.mu.Unlock()
		if asked && known == nil {
			continue
		}
		j, err := cl.Job(ctx, id, false)
		if err != nil {
			continue
		}
		t.learn(j)
		t.mu.Lock()
		t.within[id] = j.FlowStatus
		t.mu.Unlock()
		t.lookInto(ctx, cl, j.FlowStatus, depth-1)
	}
}

// partAtWork is the job of a module at work that may have steps of its own: of a loop the iteration that has not ended.
func partAtWork(m *client.FlowModule) (uuid.UUID, bool) {
	if stateOf(m) != "running" {
		return uuid.UUID{}, false
	}
	for i, id := range m.FlowJobs {
		if i < len(m.JobsSuccess) && m.JobsSuccess[i] == nil {
			return id, true
		}
	}
	if len(m.FlowJobs) == 0 && m.Job != nil {
		return *m.Job, true
	}
	return uuid.UUID{}, false
}

// draw puts logs above the tree and the tree in its place; the caller holds the lock.
func (t *flowTree) draw(logs string) {
	var out strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", t.drawn)
	}
	out.WriteString(logs)
	if logs != "" && !strings.HasSuffix(logs, "\n") {
		out.WriteByte('\n')
	}
	t.drawn = 0
	if t.root != nil {
		columns, lines := t.size()
		rows, at := t.rows(t.root, 0)
		if most := lines - 1; len(rows) > most { // what is at work is seen, whatever else is not
			first := min(max(at-most/2, 0), len(rows)-most)
			rows = rows[first : first+most]
		}
		for _, row := range rows {
			out.WriteString(cut(row, columns-1) + "\n")
		}
		t.drawn = len(rows)
	}
	t.write(out.String())
}

func cut(s string, columns int) string {
	s = strings.TrimRight(s, " ")
	if utf8.RuneCountInString(s) > columns {
		return string([]rune(s)[:max(columns, 0)])
	}
	return s
}

// rows is the tree; at is the row of what is at work.
func (t *flowTree) rows(status *client.FlowStatus, depth int) (rows []string, at int) {
	for _, m := range modulesOf(status) {
		if stateOf(m) != "" {
			at = len(rows)
		}
		rows = append(rows, t.line(m, depth))
		if logs := logsOf(m); logs != "" {
			rows = append(rows, strings.TrimSuffix(logs, "\n"))
		}
		if id, ok := partAtWork(m); ok && t.within[id] != nil && depth < deepestTree {
			inner, below := t.rows(t.within[id], depth+1)
			at = len(rows) + below
			rows = append(rows, inner...)
		}
	}
	return rows, at
}

// logsOf is a line that says where to read why a step failed.
func logsOf(m *client.FlowModule) string {
	if stateOf(m) != "failed" || m.Job == nil || len(m.FlowJobs) > 0 {
		return ""
	}
	return "      its log: millrace job logs " + m.Job.String() + "\n"
}

// line is a module for people: its id and name, how far it is, and how long it took.
func (t *flowTree) line(m *client.FlowModule, depth int) string {
	state := stateOf(m)
	detail := progressOf(m)
	if len(m.Approvers) > 0 {
		detail = append(detail, "approved by "+approvers(m))
	}
	if took := tookOf(m, t.now()); took != "" {
		detail = append([]string{took}, detail...)
	}
	name := strings.Repeat("  ", depth) + m.ID
	if s := t.names[m.ID]; s != "" {
		name += "  " + s
	}
	return fmt.Sprintf("  %-32s  %-10s  %s", name, state, strings.Join(detail, ", "))
}
