package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.json")
	r := newResults(options{build: dir, quick: true, out: file})
	h := newHistogram()
	for i := range 200 {
		if err := record(h, time.Duration(1+i)*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"millrace", "millrace-dedicated", "peer"} {
		r.Systems[name] = systemInfo{Title: "System " + name, Process: "shared", Version: "1", Tuned: true}
		r.timeline(name, [][3]float64{{0, 1000, 2000}, {2500, 3000, 4000}})
	}
	one := sample{value: 5, hist: h}
	for _, w := range []work{{name: "W1", key: "empty", unit: "ms"}, {name: "W1", key: "rate-4", unit: "1/s", higher: true},
		{name: "W6", key: slotPrefix(2*cores()) + "jobs-1000", unit: "1/s", higher: true}} {
		if err := r.single("peer", w, map[string]sample{"millrace": one, "millrace-dedicated": one, "peer": one}); err != nil {
			t.Fatal(err)
		}
	}
	r.Systems["broken"] = systemInfo{Title: "Broken"}
	r.fail("broken", errors.New("start broken:\nno such thing"))
	r.kill("peer", killed{Jobs: 40, Before: 10, Twice: 3, Missing: 2, Limit: 8})
	if err := r.look(); err != nil {
		t.Fatal(err)
	}
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(file, "published.json", filepath.Join(dir, "r.html"), ""); err != nil {
		t.Fatal(err)
	}
	series := *r
	series.Comparisons = r.Comparisons[1:]
	if text := series.markdown(nil); strings.Contains(text, summaryNote) || !strings.Contains(text, "| System peer | W1:  | rate-4 | 5/s | 5/s | 5/s | 1x / 1x |") {
		t.Errorf("a series without headlines reads\n%s", text)
	}
	for name, wants := range map[string][]string{
		"r.html": {"System peer", "Throughput against clients", "taken apart", "<svg", "A quick run", "Hatchet", "Killed in mid-load", "Burn-down against jobs", fmt.Sprintf("System peer, %d slots", 2*cores())},
		"r.md":   {"| System peer: shared | 5 ms; 1x / 1x |", "| **System millrace**: shared | 5 ms |", "Not comparable", "| Broken: ; failed: start broken: no such thing |", "| System peer | 40 | 10 | 3 | 2 |"},
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

func TestAReadmeIsFilledBetweenItsMarks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "README.md")
	if err := os.WriteFile(file, []byte("before\n"+readmeBegin+"an earlier table\n"+readmeEnd+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newResults(options{build: dir, out: filepath.Join(dir, "results", "peers.json")})
	r.Systems["tuned"], r.Systems["plain"] = systemInfo{Title: "Tuned", Tuned: true}, systemInfo{Title: "Plain"}
	for _, name := range []string{"tuned", "plain"} {
		w := work{name: "W6", key: "burn", unit: "1/s", higher: true}
		if err := r.single(name, w, map[string]sample{name: {value: 100}, own[0]: {value: 50}, own[1]: {value: 300}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.fillReadme(file, r.file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.HasPrefix(text, "before\n"+readmeBegin) || !strings.HasSuffix(text, readmeEnd+"\nafter\n") || strings.Contains(text, "an earlier table") || strings.Contains(text, "Plain") {
		t.Errorf("the marks, what stands around them, and only the tuned variant are wanted:\n%s", text)
	}
	for _, want := range []string{"| 100/s; **0.5x** / 3x |", "(results/peers.json)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if err := os.WriteFile(file, []byte("no marks"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.fillReadme(file, r.file); err == nil {
		t.Error("a file without marks was filled")
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

func TestWhatWasMeasuredIsInTheFileAtOnce(t *testing.T) {
	y := &system{adapter: startFake(t, "right")}
	res := newResults(options{build: t.TempDir(), out: filepath.Join(t.TempDir(), "r.json")})
	s := session{results: res}
	w := smoke(false).works()[0]
	if err := s.turns(t.Context(), []*system{y}, y.variant, w, smoke(false)); err != nil {
		t.Fatal(err)
	}
	left, err := readResults(res.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := left.find("fake", w.key); !ok {
		t.Errorf("%s is not in the file of a run that goes on", w.key)
	}
}
