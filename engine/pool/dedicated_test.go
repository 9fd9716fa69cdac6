package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/mock"
)

// keeper is a pool of mock processes whose script does what its argument says.
type keeper struct {
	*Pool
	isolator *mock.Isolator
	launch   runtimes.Launch
}

func keep(t *testing.T, d Dedicated) *keeper {
	t.Helper()
	k := &keeper{isolator: mock.NewIsolator(nil)}
	if d.Max == 0 {
		d.Max = 4
	}
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

func ann(version int64) Share {
	return Share{Script: "main/f/x", Owner: "u/ann", Version: engine.Hash(version), Since: version}
}

func what(commands string) Task {
	args, _ := json.Marshal(map[string]string{"what": commands}) // strings always encode
	return Task{Call: runtimes.Call{Args: args}}
}

// do runs commands and wants a result, or the failure that begins with "!".
func (k *keeper) do(t *testing.T, s Share, commands, want string) {
	t.Helper()
	res, ok, err := k.RunDedicated(t.Context(), k.launch, s, what(commands))
	if got := said(res); err != nil || !ok || got != want {
		t.Errorf("%s: got %s, %v, %v, want %s", commands, got, ok, err, want)
	}
}

func said(r Result) string {
	if r.Failure != nil {
		return "!" + r.Failure.Name
	}
	return string(r.Value)
}

func TestDedicatedKeepsOneProcess(t *testing.T) {
	k := keep(t, Dedicated{})
	for i := range 5 {
		k.do(t, ann(1), "runs", fmt.Sprint(i+1))
	}
	if n := k.isolator.Started(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// Nobody's run is ever in the process of somebody else, nor in that of another script.
func TestDedicatedOwnersApart(t *testing.T) {
	k := keep(t, Dedicated{})
	other, script := ann(1), ann(1)
	other.Owner, script.Script = "u/bob", "main/f/y"
	for i := range 3 {
		for _, s := range []Share{ann(1), other, script} {
			k.do(t, s, "runs", fmt.Sprint(i+1))
		}
	}
	if n := k.isolator.Started(); n != 3 {
		t.Errorf("%d processes", n)
	}
}

// Limits are walls: a run that asks for others is not in the same process.
func TestDedicatedWalls(t *testing.T) {
	k := keep(t, Dedicated{})
	k.do(t, ann(1), "runs", "1")
	task := what("runs")
	task.Limits.Memory = 64 << 20
	if res, ok, err := k.RunDedicated(t.Context(), k.launch, ann(1), task); err != nil || !ok || said(res) != "1" {
		t.Errorf("got %s, %v, %v", said(res), ok, err)
	}
	task = what("runs")
	task.Limits.Wall = time.Minute
	if res, ok, err := k.RunDedicated(t.Context(), k.launch, ann(1), task); err != nil || !ok || said(res) != "2" {
		t.Errorf("another time limit needs another process: %s, %v, %v", said(res), ok, err)
	}
}

// What goes wrong with one run is its own; those behind it, sent already or not, run in a fresh process.
func TestDedicatedOneFails(t *testing.T) {
	for commands, want := range map[string]string{
		"sleep 5ms; exit 3": "!ExecutionError", "sleep 5ms; oom": "!OutOfMemory", "fail Boom x": "!Boom", "return {": "!InvalidResult",
	} {
		k := keep(t, Dedicated{})
		var wg sync.WaitGroup
		k.do(t, ann(1), "return 0", "0") // so that it is there when the others come
		wg.Go(func() { k.do(t, ann(1), commands, want) })
		for range 40 {
			wg.Go(func() { k.do(t, ann(1), "return 1", "1") })
		}
		wg.Wait()
	}
}

func TestDedicatedTimeout(t *testing.T) {
	k := keep(t, Dedicated{})
	task := what("hang")
	task.Limits.Wall = 20 * time.Millisecond
	var wg sync.WaitGroup
	wg.Go(func() {
		if res, _, err := k.RunDedicated(t.Context(), k.launch, ann(1), task); err != nil || res.Stopped != StoppedTimeout || said(res) != "!Timeout" {
			t.Errorf("got %+v, %v", res, err)
		}
	})
	for range 20 {
		wg.Go(func() { k.do(t, ann(1), "return 1", "1") })
	}
	wg.Wait()
}

// A run that is canceled while it waits for another leaves at once; canceled while it runs, it takes the process with it.
func TestDedicatedCancel(t *testing.T) {
	k := keep(t, Dedicated{})
	begun := make(chan struct{})
	first, stop := context.WithCancel(t.Context())
	hang := what("log begun; hang")
	hang.OnOutput = func([]byte) { close(begun) }
	ended := make(chan Result)
	go func() {
		res, _, _ := k.RunDedicated(first, k.launch, ann(1), hang)
		ended <- res
	}()
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if res, ok, err := k.RunDedicated(gone, k.launch, ann(1), what("return 1")); err != nil || !ok || res.Stopped != StoppedCanceled {
			t.Errorf("got %+v, %v, %v", res, ok, err)
		}
	}
	stop()
	if res := <-ended; res.Stopped != StoppedCanceled || said(res) != "!Canceled" {
		t.Errorf("got %+v", res)
	}
	k.do(t, ann(1), "runs", "1")
}

func TestDedicatedVersions(t *testing.T) {
	k := keep(t, Dedicated{})
	k.do(t, ann(1), "runs", "1")
	k.do(t, ann(2), "runs", "1")
	if n := k.Dedicated(); n != 1 {
		t.Errorf("%d processes, the old version's should have ended", n)
	}
	k.do(t, ann(2), "runs", "2")
	k.do(t, ann(1), "runs", "1") // asked for by its hash
	k.do(t, ann(2), "runs", "3")
}

// With no room a run is left to its caller; one that is idle makes room.
func TestDedicatedRoom(t *testing.T) {
	k := keep(t, Dedicated{Max: 1})
	k.do(t, ann(1), "runs", "1")
	other := ann(1)
	other.Script = "main/f/y"
	k.do(t, other, "runs", "1")
	begun := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	hang := what("log begun; hang")
	hang.OnOutput = func([]byte) { close(begun) }
	ended := make(chan struct{})
	go func() {
		_, _, _ = k.RunDedicated(ctx, k.launch, other, hang)
		close(ended)
	}()
	<-begun
	if _, ok, err := k.RunDedicated(t.Context(), k.launch, ann(1), what("runs")); ok || err != nil {
		t.Errorf("more processes than there may be: %v", err)
	}
	cancel()
	<-ended
}

func TestDedicatedIsRenewed(t *testing.T) {
	k := keep(t, Dedicated{Runs: 2})
	for _, want := range []string{"1", "2", "1", "2", "1"} {
		k.do(t, ann(1), "runs", want)
	}
	k = keep(t, Dedicated{})
	k.do(t, ann(1), "leave; runs", "1")
	k.do(t, ann(1), "runs", "1")
}

func TestDedicatedIdleEnds(t *testing.T) {
	k := keep(t, Dedicated{IdleAfter: time.Hour})
	k.do(t, ann(1), "runs", "1")
	k.dedicated.dropIdle(time.Now())
	k.do(t, ann(1), "runs", "2")
	k.dedicated.dropIdle(time.Now().Add(2 * time.Hour))
	if n := k.Dedicated(); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	k.do(t, ann(1), "runs", "1")
}

// Variables that a run has no more are not those of the run before.
func TestDedicatedEnvironment(t *testing.T) {
	k := keep(t, Dedicated{})
	for _, c := range []struct {
		env        map[string]string
		name, want string
	}{
		{map[string]string{"A": "1", "B": "x"}, "A", `"1"`}, {map[string]string{"A": "2", "B": "x"}, "A", `"2"`},
		{map[string]string{"B": "x"}, "A", `""`}, {map[string]string{"B": "x"}, "B", `"x"`},
		{map[string]string{"C": "1", "B": "y"}, "B", `"y"`}, {nil, "B", `""`},
	} {
		task := what("env " + c.name)
		task.Call.Env = runtimes.EnvOf(c.env)
		if res, _, err := k.RunDedicated(t.Context(), k.launch, ann(1), task); err != nil || said(res) != c.want {
			t.Errorf("%v: %s is %s, %v", c.env, c.name, said(res), err)
		}
	}
}

func TestDedicatedStops(t *testing.T) {
	k := keep(t, Dedicated{})
	begun := make(chan struct{})
	hang := what("log begun; hang")
	hang.OnOutput = func([]byte) { close(begun) }
	ended := make(chan Result)
	go func() {
		res, _, _ := k.RunDedicated(context.Background(), k.launch, ann(1), hang)
		ended <- res
	}()
	<-begun
	go k.Stop()
	if res := <-ended; res.Stopped != StoppedCanceled {
		t.Errorf("got %+v", res)
	}
	if _, ok, err := k.RunDedicated(t.Context(), k.launch, ann(2), what("runs")); ok && err == nil {
		t.Error("a stopped pool runs something")
	}
}

// A process can answer only for the run that it is at.
func TestDedicatedBreaksProtocol(t *testing.T) {
	k := keep(t, Dedicated{})
	k.do(t, ann(1), "forge 7", "!ProtocolError")
	k.do(t, ann(1), "runs", "1")
}

// Runs are spread over as many processes as the script may have, and no more; with nothing to do at the same time one is enough.
func TestDedicatedSpreads(t *testing.T) {
	k := keep(t, Dedicated{})
	s := ann(1)
	s.Processes = 2
	for i := range 3 {
		k.do(t, s, "runs", fmt.Sprint(i+1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		begun := make(chan struct{})
		hang := what("log begun; hang")
		hang.OnOutput = func([]byte) { close(begun) }
		wg.Go(func() { _, _, _ = k.RunDedicated(ctx, k.launch, s, hang) })
		<-begun
	}
	if n := k.Dedicated(); n != 2 {
		t.Errorf("%d processes", n)
	}
	wg.Go(func() {
		if res, _, err := k.RunDedicated(ctx, k.launch, s, what("runs")); err != nil || res.Stopped != StoppedCanceled && said(res) != "1" {
			t.Errorf("got %+v, %v", res, err)
		}
	})
	cancel()
	wg.Wait()
	if n := k.isolator.Started(); n > 4 {
		t.Errorf("%d processes were started", n)
	}
}
