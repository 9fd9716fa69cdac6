package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be an adapter: of a peer that computes and keeps nothing.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_PEER") == "" {
		os.Exit(m.Run())
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			os.Exit(1)
		}
		a := fake(r)
		a.ID = r.ID
		b, err := json.Marshal(a)
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(string(b))
	}
}

func fake(r request) (a answer) {
	wrong := os.Getenv("FAKE_PEER") == "wrong"
	switch r.Op {
	case "start":
		a.Value = json.RawMessage(`{"version": "1", "works": ["empty", "fibo", "steps", "fan", "payload", "many", "load"]}`)
		fakeRecover()
		return a
	case "load":
		if err := os.WriteFile(fakeQueue(), fmt.Appendf(nil, "%d %d", r.N, r.K), 0o644); err != nil {
			a.Error = err.Error()
		}
		go fakeJobs(0, r.N, r.K)
		return a
	case "many":
		a.Spans = [][3]float64{{0, 1000, 4000}}
		a.Value = json.RawMessage(fmt.Sprint(r.N * (r.N + 1) / 2))
		if wrong {
			a.Value = json.RawMessage("0")
		}
		return a
	case "one":
	case "crash":
		os.Exit(3)
	default:
		return a
	}
	if n, ok := r.Arg.(float64); ok {
		r.Arg = int(n)
	}
	want, err := r.want()
	if err != nil {
		a.Error = err.Error()
	}
	if wrong {
		want = "0"
	}
	a.Value = json.RawMessage(want)
	for i := range r.N {
		at := float64(i * 1000)
		a.Spans = append(a.Spans, [3]float64{at, at + 200, at + 700})
	}
	return a
}

// fakeQueue is the only thing that the fake peer keeps: how many jobs it took, and who hears of them.
func fakeQueue() string { return filepath.Join(os.Getenv("DATA"), "queue") }

// fakeJobs runs jobs one after the other.
func fakeJobs(from, to, port int) {
	for i := from; i < to; i++ {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		_, _ = fmt.Fprintln(c, i)      // who hears of it says how often
		_, _ = c.Read(make([]byte, 1)) // its end is the answer
		_ = c.Close()                  // only a client
	}
}

// fakeRecover runs what is left after a kill, and the last job that had run once more; the last five are lost.
func fakeRecover() {
	b, err := os.ReadFile(fakeQueue())
	if err != nil {
		return // nothing was begun
	}
	var n, port int
	if _, err := fmt.Sscan(string(b), &n, &port); err != nil {
		panic(err)
	}
	go fakeJobs(n/4-1, n-5, port)
}

func TestAKillIsCounted(t *testing.T) {
	v := variant{Name: "fake", Title: "Fake", Env: map[string]string{"FAKE_PEER": "right"}, config: &config{Command: []string{os.Args[0]}}, folder: t.TempDir()}
	mark := "PEERS_TEST=" + t.Name()
	y := &system{store: &store{}, folder: t.TempDir(), mark: mark, env: []string{mark, "DATA=" + t.TempDir()}}
	if err := y.launch(t.Context(), v, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := y.end(); err != nil {
			t.Error(err)
		}
		if left := marked(mark); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
	})
	s := session{options: options{build: t.TempDir()}, results: newResults(options{build: t.TempDir()})}
	if err := s.kill(t.Context(), y, size{kill: 40, recovery: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	got := s.results.Kills["fake"]
	if got.Jobs != 40 || got.Before != 10 || got.Twice != 1 || got.Missing != 5 || got.All != 0 || got.First <= 0 {
		t.Errorf("%+v, want 40 jobs, 10 before the kill, 1 twice and 5 missing", got)
	}
}

func TestTheLargestFanOutStandsBesideOurs(t *testing.T) {
	y := &system{adapter: startFake(t, "right")}
	res := newResults(options{build: t.TempDir()})
	s := session{results: res, lanes: &lanes{alone: map[string]map[string]sample{"fan-100": {own[0]: {value: 1}}}}}
	if err := s.fanAlone(t.Context(), y, size{fanAlone: 100, turn: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if c, ok := res.find("fake", "fan-100"); !ok || len(c.Results) != 2 || c.Ratios[own[0]].N != 1 {
		t.Errorf("%+v, want the fake's figure and our isolated lane's", c)
	}
}

func TestAListenerCountsRuns(t *testing.T) {
	l, err := listen(5)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	fakeJobs(0, 5, l.port)
	l.await(t.Context(), 5, time.Minute)
	if l.ran(9) {
		t.Error("more jobs were answered before the kill than should be")
	}
	l.killed()
	fakeJobs(4, 9, l.port)
	l.await(t.Context(), 9, time.Minute)
	if got := l.count(10); got.Twice != 1 || got.Missing != 1 || got.First <= 0 {
		t.Errorf("%+v, want one twice and one missing", got)
	}
	if got := l.count(9); got.Missing != 0 || got.All <= 0 {
		t.Errorf("%+v, want none missing", got)
	}
}

func TestQuickRunsTakeTheTunedVariant(t *testing.T) {
	all, err := readPeers(".")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := choose(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	folders := map[string]bool{}
	for _, v := range onlyTuned(chosen) {
		if folders[v.folder] {
			t.Errorf("two variants of %s", v.folder)
		}
		folders[v.folder] = true
	}
	if len(folders) < 11 || !slices.ContainsFunc(onlyTuned(chosen), func(v variant) bool { return v.Name == "river-tuned" }) {
		t.Errorf("of %d folders %d were taken, or not their last variants", len(all), len(folders))
	}
}

func TestTheTunedVariantComesFirst(t *testing.T) {
	all, err := readPeers(".")
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := choose(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	list := tunedFirst(chosen)
	n := len(onlyTuned(chosen))
	if slices.ContainsFunc(list[:n], func(v variant) bool { return !v.tuned }) || len(list) != len(chosen) || list[0].Slow || !list[n-1].Slow {
		t.Errorf("the order is %v", list)
	}
	s := session{}
	tuned, plain := s.size(list[0]), s.size(list[slices.IndexFunc(list, func(v variant) bool { return !v.tuned && !v.Slow })])
	if tuned.rounds != 3 || tuned.backlog == 0 || plain.rounds >= tuned.rounds || plain.backlog != 0 || plain.fibo33 != tuned.fibo33 {
		t.Errorf("tuned %+v, others %+v", tuned, plain)
	}
}

func TestSizesOfASeriesThatWouldTakeTooLongAreLeftOut(t *testing.T) {
	y := &system{adapter: startFake(t, "right")}
	z := size{jobsLimit: time.Microsecond}
	if _, err := z.burnJobs(10_000)(t.Context(), y.adapter); !errors.Is(err, errTooLong) {
		t.Errorf("a limit of a microsecond was kept to by %v", err)
	}
	z.jobsLimit = time.Hour
	if one, err := z.burnJobs(10_000)(t.Context(), y.adapter); err != nil || one.value <= 0 {
		t.Errorf("%+v, %v", one, err)
	}
}

func startFake(t *testing.T, kind string) *adapter {
	t.Helper()
	v := variant{Name: "fake", Title: "Fake", Env: map[string]string{"FAKE_PEER": kind}, config: &config{Command: []string{os.Args[0]}}, folder: t.TempDir()}
	a, err := startAdapter(v, t.TempDir(), t.TempDir(), []string{"PEERS_TEST=" + t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.end() // an adapter that was made to crash has nothing more to say
		if left := marked("PEERS_TEST=" + t.Name()); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
	})
	if err := a.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEveryWorkOfAPeer(t *testing.T) {
	y := &system{adapter: startFake(t, "right")}
	res := newResults(options{build: t.TempDir()})
	res.describe(y.variant, "1")
	s := session{results: res}
	v := y.variant
	for _, w := range smoke(false).works() {
		if err := s.turns(t.Context(), []*system{y}, v, w, smoke(false)); err != nil {
			t.Errorf("%s: %v", w.key, err)
		}
		if c, ok := res.find("fake", w.key); !ok || len(c.Results["fake"].Rounds) != 1 {
			t.Errorf("%s left no figure: %+v", w.key, c)
		}
	}
	if err := s.timelines(t.Context(), []*system{y}, v); err != nil {
		t.Fatal(err)
	}
	if got := res.Timelines["fake"]; math.Round(got.Assignment) != 8 || math.Round(got.Execution) != 20 || math.Round(got.Transition) != 12 {
		t.Errorf("timeline %+v, want 40 steps of 0.2 + 0.5 ms, 0.3 ms apart", got)
	}
}

func TestTheFirstOfFewRunsDoesNotCount(t *testing.T) {
	a := startFake(t, "right")
	r := request{Work: "payload", N: 1}
	for _, cold := range []bool{true, false} {
		before := a.next
		one, err := size{turn: time.Minute, cold: cold}.warmed(r, 3)(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		want := 4
		if cold {
			want = 3
		}
		if asked := a.next - before; asked != want || one.hist.TotalCount() != 3 {
			t.Errorf("cold %v: asked %d times, want %d; %d counted", cold, asked, want, one.hist.TotalCount())
		}
	}
}

func TestWrongResultsAreNoFigures(t *testing.T) {
	a := startFake(t, "wrong")
	for _, w := range smoke(false).works() {
		if _, err := w.run(t.Context(), a); err == nil {
			t.Errorf("%s took a wrong result", w.key)
		}
	}
}

func TestACrashedAdapterIsSaid(t *testing.T) {
	a := startFake(t, "right")
	if _, err := a.ask(t.Context(), request{Op: "crash"}); err == nil || !strings.Contains(err.Error(), "the adapter is gone") {
		t.Errorf("a crash was answered with %v", err)
	}
}

func TestBootstrap(t *testing.T) {
	got := bootstrap([]float64{2, 2.2, 1.9, 2.1, 2})
	if got.Median != 2 || got.Low < 1.9 || got.Low > 2 || got.High < 2 || got.High > 2.2 {
		t.Errorf("%+v", got)
	}
	if got := bootstrap([]float64{3}); got.Low != 3 || got.High != 3 || got.N != 1 {
		t.Errorf("of one value: %+v", got)
	}
}

func TestRatiosSayHowMuchBetterWeAre(t *testing.T) {
	for _, c := range []struct {
		higher       bool
		theirs, ours float64
		want         float64
	}{{false, 10, 2, 5}, {false, 2, 10, 0.2}, {true, 100, 500, 5}, {true, 500, 100, 0.2}} {
		x := comparison{Peer: "p", Higher: c.higher, Ratios: map[string]interval{},
			Results: map[string]measured{"p": {Rounds: []float64{c.theirs}}, own[0]: {Rounds: []float64{c.ours}}}}
		x.compare()
		if got := x.Ratios[own[0]].Median; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v gives %g", c, got)
		}
	}
}

func TestTheFoldersArePeers(t *testing.T) {
	all, err := readPeers(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range own {
		if _, err := find(all, name); err != nil {
			t.Error(err)
		}
	}
	if _, err := choose(all, []string{"nobody"}); err == nil {
		t.Error("a peer that is not there was chosen")
	}
	seen := map[string]bool{}
	for _, v := range all {
		if seen[v.Name] || v.Title == "" || v.Process == "" || v.Commits == "" {
			t.Errorf("%s: the name must be its own, and title, process and commits be said", v.Name)
		}
		seen[v.Name] = true
		f, err := os.Open(filepath.Join(v.folder, "install.sh"))
		if err != nil {
			t.Error(err)
			continue
		}
		head, err := io.ReadAll(io.LimitReader(f, 11))
		if err != nil || string(head) != "#!/usr/bin/" {
			t.Errorf("%s/install.sh is no script: %v", v.folder, err)
		}
		_ = f.Close() // only read
	}
}

// TestUsageKeepsWhatHasEnded: the time of a process that ends is not lost to its family.
func TestUsageKeepsWhatHasEnded(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; echo ended; read line")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if cpu, _ := usage(descendants(cmd.Process.Pid)); cpu == 0 {
		t.Error("a child that has counted to 300,000 and ended took no time")
	}
	_ = in.Close()
	_ = cmd.Wait() // its read has failed, which is how it was to end
}

// TestPayloadThatAPeerRefuses: what a system's own limit forbids is not asked of it.
func TestPayloadThatAPeerRefuses(t *testing.T) {
	for most, want := range map[int]int{0: 3, 512 << 10: 2, 1 << 20: 3} {
		if got := (session{}).size(variant{Name: "x", tuned: true, config: &config{Payload: most}}).payloads; len(got) != want {
			t.Errorf("of a system that takes %d bytes: %v", most, got)
		}
	}
}
