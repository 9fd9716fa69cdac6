package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/frame"
	"github.com/millrace/millrace/runtimes/mock"
)

// sideBySide is a process whose runs go on side by side. What a run does is in its argument: "ask" asks and answers what it is told,
// "hold" waits, "log" prints, "crash" ends the process, "deaf" has it hear of nothing any more, "leave" has it want to end, "begun" answers
// whether it was begun before, "forge" answers for a run that there is not.
type sideBySide struct {
	task    *mock.Task
	mu      sync.Mutex
	answers map[uint64]chan string // guarded by mu
	crash   chan struct{}
	deaf    chan struct{}
	out     chan []byte // a socket would hold what is not read yet
}

func workflowProcess(t *mock.Task) int {
	s := &sideBySide{task: t, answers: map[uint64]chan string{}, crash: make(chan struct{}), deaf: make(chan struct{}), out: make(chan []byte, 1000)}
	go func() {
		for b := range s.out {
			_, _ = t.Conn.Write(b)
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.read()
	}()
	select {
	case <-s.crash:
		return 3
	case <-ended:
		return 0
	case <-t.Killed:
		return 1
	}
}

func (s *sideBySide) send(number uint64, kind frame.Type, text string) {
	var b []byte
	if number != 0 {
		b = frame.AppendNumber(b, number)
	}
	s.out <- frame.Append(b, kind, text)
}

func (s *sideBySide) read() {
	in := frame.NewReader(s.task.Conn)
	if _, err := frame.ReadRequest(in); err != nil {
		return
	}
	var number uint64
	begun := false
	for first := true; ; {
		kind, p, err := in.Next()
		if err != nil {
			return
		}
		switch kind {
		case frame.Number:
			q := frame.NewReader(strings.NewReader(string(frame.Append(nil, frame.Number, p))))
			r, _ := q.Reply()
			number = r.Number
		case frame.History:
			begun = true
		case frame.Args:
			if first {
				s.send(0, frame.Abreast, "")
				first = false
			}
			var args map[string]string
			_ = json.Unmarshal(p, &args)
			heard := make(chan string, 1)
			s.mu.Lock()
			s.answers[number] = heard
			s.mu.Unlock()
			go s.run(number, args["what"], begun, heard)
			begun = false
		case frame.Answer:
			s.mu.Lock()
			s.answers[number] <- string(p)
			s.mu.Unlock()
		case frame.Drop:
			s.send(number, frame.Drop, "")
		}
		select {
		case <-s.deaf:
			<-s.task.Killed
			return
		default:
		}
	}
}

func (s *sideBySide) run(number uint64, what string, begun bool, heard chan string) {
	for command := range strings.SplitSeq(what, "; ") {
		verb, rest, _ := strings.Cut(command, " ")
		switch verb {
		case "ask":
			s.send(number, frame.Ask, rest)
			s.send(number, frame.Result, <-heard)
		case "log":
			s.send(number, frame.Output, rest)
		case "return":
			s.send(number, frame.Result, rest)
		case "begun":
			s.send(number, frame.Result, fmt.Sprint(begun))
		case "forge":
			s.send(number+1000, frame.Result, "1")
		case "leave":
			s.send(0, frame.Leave, "")
		case "crash":
			close(s.crash)
		case "deaf":
			close(s.deaf)
			s.send(number, frame.Output, "deaf")
		}
	}
}

// keepWorkflows is a pool whose dedicated processes run workflows.
func keepWorkflows(t *testing.T, d Dedicated) *keeper {
	t.Helper()
	programs := mock.Programs()
	programs["mock"] = workflowProcess
	k := &keeper{isolator: mock.NewIsolator(programs)}
	d.Max = 4
	var err error
	if k.Pool, err = New(Config{Isolator: k.isolator, MaxSlots: 8, Dedicated: d, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	if k.launch, err = mock.New().Launch(runtimes.Host{}, runtimes.Program{Source: "do what"}, runtimes.Artifact{}); err != nil {
		t.Fatal(err)
	}
	return k
}

// workflow is a task whose asks are heard: it says so by closing asked, and gets an answer when it is told.
type workflow struct {
	Task
	asked   chan Process
	ended   chan Result
	printed chan string
}

func (k *keeper) workflow(ctx context.Context, t *testing.T, commands string) *workflow {
	w := &workflow{Task: what(commands), asked: make(chan Process, 1), ended: make(chan Result, 1), printed: make(chan string, 8)}
	w.OnAsk = func(_ []byte, of Process) { w.asked <- of }
	w.OnOutput = func(p []byte) { w.printed <- string(p) }
	go func() {
		res, ok, err := k.RunDedicated(ctx, k.launch, ann(1), w.Task)
		if !ok || err != nil {
			t.Errorf("%s: %v, %v", commands, ok, err)
		}
		w.ended <- res
	}()
	return w
}

func (w *workflow) want(t *testing.T, want string) {
	t.Helper()
	res := <-w.ended
	if got := said(res); got != want && res.Stopped != want {
		t.Errorf("got %s %+v, want %s", got, res, want)
	}
}

// Runs go on side by side in one process, end in any order, and each gets its own answers and log.
func TestAbreast(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	var all []*workflow
	for i := range 100 {
		all = append(all, k.workflow(t.Context(), t, fmt.Sprintf("log %d; ask %d", i, i)))
	}
	for i := range all {
		w := all[len(all)-1-i]
		(<-w.asked).Answer([]byte(fmt.Sprint(len(all) - 1 - i)))
		w.want(t, fmt.Sprint(len(all)-1-i))
		if got := <-w.printed; got != fmt.Sprint(len(all)-1-i) {
			t.Errorf("run %d has the log %q", len(all)-1-i, got)
		}
	}
	if n := k.isolator.Started(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// A process that dies takes nobody with it: the runs that were in it are suspects, and can begin anew. One that was alone is to blame.
func TestAbreastCrash(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	waits := k.workflow(t.Context(), t, "ask 1")
	<-waits.asked
	k.workflow(t.Context(), t, "crash").want(t, StoppedSuspect)
	waits.want(t, StoppedSuspect)
	k.workflow(t.Context(), t, "crash").want(t, "!ExecutionError")
	again := what("begun")
	again.Replay = true
	if res, _, err := k.RunDedicated(t.Context(), k.launch, ann(1), again); err != nil || said(res) != "true" {
		t.Errorf("got %s, %v", said(res), err)
	}
	k.workflow(t.Context(), t, "begun").want(t, "false")
	if n := k.isolator.Started(); n != 3 {
		t.Errorf("%d processes", n)
	}
}

func TestAbreastCancelAndSuspend(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	ctx, cancel := context.WithCancel(t.Context())
	held, suspended, stays := k.workflow(ctx, t, "ask 1"), k.workflow(t.Context(), t, "ask 1"), k.workflow(t.Context(), t, "ask 1")
	of := <-stays.asked
	<-held.asked
	cancel()
	held.want(t, StoppedCanceled)
	(<-suspended.asked).Suspend()
	suspended.want(t, StoppedSuspended)
	of.Answer([]byte("7"))
	stays.want(t, "7")
	if n := k.isolator.Started(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// A run that holds up the process takes it with it; the others are not to blame.
func TestAbreastTimeout(t *testing.T) {
	k := keepWorkflows(t, Dedicated{DropAfter: 20 * time.Millisecond})
	waits := k.workflow(t.Context(), t, "ask 1")
	of := <-waits.asked
	of.Waits(true)
	w := what("hold; deaf")
	w.Limits.Wall = 20 * time.Millisecond
	if res, _, err := k.RunDedicated(t.Context(), k.launch, ann(1), w); err != nil || said(res) != "!Timeout" {
		t.Errorf("got %+v, %v", res, err)
	}
	waits.want(t, StoppedLost)
}

// What a run waits for is not its time.
func TestAbreastClock(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	w := what("ask 1")
	w.Limits.Wall = 50 * time.Millisecond
	w.OnAsk = func(_ []byte, of Process) {
		of.Waits(true)
		time.AfterFunc(100*time.Millisecond, func() {
			of.Waits(false)
			of.Answer([]byte("8"))
		})
	}
	if res, _, err := k.RunDedicated(t.Context(), k.launch, ann(1), w); err != nil || said(res) != "8" {
		t.Errorf("got %+v, %v", res, err)
	}
}

// A process that is to be replaced tells those that wait in it, and the next one takes over at once.
func TestAbreastHandsOver(t *testing.T) {
	k := keepWorkflows(t, Dedicated{Runs: 2})
	told := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	waits := what("ask 1")
	asked := make(chan Process, 1)
	waits.OnAsk = func(_ []byte, of Process) { asked <- of }
	waits.OnLeave = func() { close(told) }
	ended := make(chan Result, 1)
	go func() {
		res, _, _ := k.RunDedicated(ctx, k.launch, ann(1), waits)
		ended <- res
	}()
	of := <-asked
	for range 5 {
		k.do(t, ann(1), "return 1", "1")
	}
	<-told
	if n := k.isolator.Started(); n < 2 {
		t.Errorf("%d processes", n)
	}
	of.Suspend()
	if res := <-ended; res.Stopped != StoppedSuspended {
		t.Errorf("got %+v", res)
	}
	cancel()
	k.do(t, ann(1), "leave; return 2", "2")
	k.do(t, ann(1), "return 3", "3")
}

func TestAbreastBreaksProtocol(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	k.do(t, ann(1), "return 1", "1")
	k.do(t, ann(1), "forge", "!ProtocolError")
	k.do(t, ann(1), "return 1", "1")
}

func TestAbreastOutputLimit(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	w := what("log 123456789; hold")
	w.Limits.Output = 5
	if res, _, err := k.RunDedicated(t.Context(), k.launch, ann(1), w); err != nil || said(res) != "!OutputLimit" {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestAbreastStops(t *testing.T) {
	k := keepWorkflows(t, Dedicated{})
	w := k.workflow(context.Background(), t, "ask 1")
	<-w.asked
	go k.Stop()
	w.want(t, StoppedCanceled)
}

// To let go of one that waits is no reason to kill a process that is busy.
func TestAbreastSuspendsPatiently(t *testing.T) {
	k := keepWorkflows(t, Dedicated{DropAfter: time.Millisecond})
	waits := k.workflow(t.Context(), t, "ask 1")
	of := <-waits.asked
	w := k.workflow(t.Context(), t, "deaf")
	<-w.printed
	of.Suspend()
	select {
	case res := <-waits.ended:
		t.Errorf("got %+v", res)
	case <-time.After(50 * time.Millisecond):
	}
	go k.Stop()
	waits.want(t, StoppedSuspended)
}
