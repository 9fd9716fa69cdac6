package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
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
		a.Value = json.RawMessage(`{"version": "1", "works": ["empty", "fibo", "steps", "fan", "payload", "many"]}`)
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
	res.describe(y.adapter)
	s := session{results: res}
	v := y.variant
	for _, w := range smoke().works() {
		if err := s.turns(t.Context(), []*system{y}, v, w, smoke()); err != nil {
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

func TestWrongResultsAreNoFigures(t *testing.T) {
	a := startFake(t, "wrong")
	for _, w := range smoke().works() {
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

func TestHistogramsSurviveTheFile(t *testing.T) {
	h := newHistogram()
	for i := range 1000 {
		if err := record(h, time.Duration(i)*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	l, err := summarize(h)
	if err != nil {
		t.Fatal(err)
	}
	back, err := l.histogram()
	if err != nil || back.TotalCount() != 1000 || back.ValueAtQuantile(50) != h.ValueAtQuantile(50) {
		t.Errorf("%v, %+v", err, l)
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.json")
	r := newResults(options{build: dir, quick: true})
	h := newHistogram()
	for i := range 200 {
		if err := record(h, time.Duration(1+i)*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"millrace", "millrace-dedicated", "peer"} {
		r.Systems[name] = systemInfo{Title: "System " + name, Version: "1"}
		for _, w := range []work{{name: "W1", key: "empty", unit: "ms"}, {name: "W1", key: "rate-4", unit: "1/s", higher: true}} {
			if err := r.single("peer", name, w, sample{value: 5, hist: h}); err != nil {
				t.Fatal(err)
			}
		}
		r.timeline(name, [][3]float64{{0, 1000, 2000}, {2500, 3000, 4000}})
	}
	if err := r.save(file); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(file, "published.json", filepath.Join(dir, "r.html")); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"r.html": {"System peer", "Throughput against clients", "taken apart", "<svg", "A quick run", "Hatchet"},
		"r.md":   {"| System peer | 5 ms; 1x / 1x |", "Not comparable"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if strings.Contains(string(b), "src=\"http") || strings.Contains(string(b), "<script") {
			t.Errorf("%s needs something from elsewhere", name)
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
