package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// results is the file that everything else is drawn from.
type results struct {
	When        time.Time             `json:"when"`
	Machine     machine               `json:"machine"`
	Quick       bool                  `json:"quick"`
	FlushDelay  float64               `json:"flush_delay_ms"`
	Slots       int                   `json:"slots"`
	Note        string                `json:"note,omitempty"`
	Systems     map[string]systemInfo `json:"systems"`
	Comparisons []comparison          `json:"comparisons"`
	Timelines   map[string]timeline   `json:"timelines"` // of 40 x fibo(10)
	Idle        map[string]idleUse    `json:"idle"`
	Kills       map[string]killed     `json:"kills"`
	// Failures says of a peer what went wrong. What it was measured at nevertheless is among the comparisons.
	Failures map[string]string `json:"failures,omitempty"`

	folder string // where the disk is timed
	file   string // that grows with each comparison
}

type systemInfo struct {
	Title    string `json:"title"`
	URL      string `json:"url"`
	Version  string `json:"version"`
	Language string `json:"language"`
	Process  string `json:"process"`
	Commits  string `json:"commits"`
	Tuned    bool   `json:"tuned,omitempty"` // the best of its peer's variants
}

// comparison is a work done in turns by a peer and our lanes.
type comparison struct {
	Peer    string              `json:"peer"`
	Work    string              `json:"work"`
	Key     string              `json:"key"`
	Title   string              `json:"title"`
	Unit    string              `json:"unit"`
	Higher  bool                `json:"higher_is_better"`
	When    time.Time           `json:"when"`
	Load    float64             `json:"load_average"`
	Results map[string]measured `json:"results"` // by system
	// Ratios says for each of our lanes how many times better it was than the peer: the median of the rounds, with its interval.
	Ratios map[string]interval `json:"ratios"`
}

type measured struct {
	Rounds    []float64  `json:"rounds"`
	Latencies *latencies `json:"latencies,omitempty"`
	DriverCPU float64    `json:"driver_cpu"` // share of a core
}

// timeline is the sum of a flow's parts in milliseconds, and each step's.
type timeline struct {
	Assignment float64      `json:"assignment_ms"`
	Execution  float64      `json:"execution_ms"`
	Transition float64      `json:"transition_ms"`
	Steps      [][3]float64 `json:"steps_ms"` // created, started, ended, since the first was created
}

type idleUse struct {
	CPU       float64 `json:"cpu_percent"`
	Memory    float64 `json:"pss_mb"`
	Processes int     `json:"processes"`
}

func newResults(o options) *results {
	return &results{When: time.Now().UTC().Truncate(time.Second), Quick: o.quick, FlushDelay: milliseconds(o.delay), Slots: o.slots, Note: o.note,
		Systems: map[string]systemInfo{}, Timelines: map[string]timeline{}, Idle: map[string]idleUse{}, Kills: map[string]killed{}, Failures: map[string]string{}, folder: o.build,
		file: o.out}
}

// load takes over what an earlier run measured under the same conditions.
func (r *results) load(file string) error {
	old, err := readResults(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if old.Quick != r.Quick || old.FlushDelay != r.FlushDelay || old.Slots != r.Slots {
		return fmt.Errorf("%s was measured with other flags (quick %v, flush delay %g ms, %d slots): name another --out", file, old.Quick, old.FlushDelay, old.Slots)
	}
	r.Systems, r.Comparisons, r.Timelines, r.Idle = old.Systems, old.Comparisons, old.Timelines, old.Idle
	if old.Kills != nil {
		r.Kills = old.Kills
	}
	if old.Failures != nil {
		r.Failures = old.Failures
	}
	if r.Note == "" {
		r.Note = old.Note
	}
	return nil
}

func readResults(file string) (*results, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &results{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// look reads what the machine is and how fast its disk is now.
func (r *results) look() error {
	var err error
	r.Machine, err = readMachine(r.folder)
	return err
}

// save writes the file as a whole, so that whoever is interrupted leaves the one before. Without a name there is none.
func (r *results) save() error {
	if r.file == "" {
		return nil
	}
	slices.SortStableFunc(r.Comparisons, func(a, b comparison) int {
		return strings.Compare(a.Peer+" "+a.Work+" "+a.Key, b.Peer+" "+b.Work+" "+b.Key)
	})
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.file), 0o755); err != nil {
		return err
	}
	next := r.file + ".tmp"
	if err := os.WriteFile(next, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, r.file)
}

func (r *results) describe(v variant, version string) {
	r.Systems[v.Name] = systemInfo{Title: v.Title, URL: v.config.URL, Version: version, Language: v.config.Language, Process: v.Process, Commits: v.Commits, Tuned: v.tuned}
}

// fail keeps what went wrong with a peer, nil for nothing.
func (r *results) fail(peer string, err error) {
	delete(r.Failures, peer)
	if err != nil {
		r.Failures[peer] = err.Error()
	}
}

// put replaces what there was of the same comparison, also in the file.
func (r *results) put(c comparison) error {
	r.Comparisons = slices.DeleteFunc(r.Comparisons, func(o comparison) bool { return o.Peer == c.Peer && o.Key == c.Key })
	r.Comparisons = append(r.Comparisons, c)
	c.print()
	return r.save()
}

// single is a comparison whose systems did not take turns: each has one value.
func (r *results) single(peer string, w work, values map[string]sample) error {
	c := comparisonOf(peer, w)
	for name, one := range values {
		m, err := summary([]sample{one})
		if err != nil {
			return err
		}
		c.Results[name] = m
	}
	c.compare()
	return r.put(c)
}

func comparisonOf(peer string, w work) comparison {
	return comparison{Peer: peer, Work: w.name, Key: w.key, Title: w.title, Unit: w.unit, Higher: w.higher, When: time.Now().UTC().Truncate(time.Second),
		Load: loadAverage(), Results: map[string]measured{}, Ratios: map[string]interval{}}
}

func newComparison(peer string, w work, systems []*system, got [][]sample) (comparison, error) {
	c := comparisonOf(peer, w)
	for i, y := range systems {
		if len(got[i]) == 0 {
			continue // it said that this would take too long
		}
		m, err := summary(got[i])
		if err != nil {
			return c, err
		}
		c.Results[y.variant.Name] = m
	}
	c.compare()
	return c, nil
}

func summary(samples []sample) (measured, error) {
	m := measured{}
	var all *hdrhistogram.Histogram
	for _, s := range samples {
		m.Rounds = append(m.Rounds, round3(s.value))
		m.DriverCPU = max(m.DriverCPU, round3(s.cpu))
		if s.hist != nil {
			if all == nil {
				all = newHistogram()
			}
			all.Merge(s.hist)
		}
	}
	if all != nil {
		l, err := summarize(all)
		if err != nil {
			return m, err
		}
		m.Latencies = &l
	}
	return m, nil
}

func round3(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }

// compare fills in the ratios, round by round.
func (c comparison) compare() {
	theirs := c.Results[c.Peer].Rounds
	for _, lane := range own {
		ours, ok := c.Results[lane]
		if !ok || len(ours.Rounds) != len(theirs) {
			continue
		}
		var ratios []float64
		for i := range theirs {
			a, b := theirs[i], ours.Rounds[i]
			if c.Higher {
				a, b = b, a
			}
			if b > 0 {
				ratios = append(ratios, a/b)
			}
		}
		if len(ratios) > 0 {
			c.Ratios[lane] = bootstrap(ratios)
		}
	}
}

func (c comparison) print() {
	fmt.Printf("   %-14s", c.Key)
	for _, name := range append(slices.Clone(own), c.Peer) {
		if m, ok := c.Results[name]; ok {
			fmt.Printf(" %s %.4g", name, median(m.Rounds))
		}
	}
	fmt.Printf(" %s;", c.Unit)
	for _, lane := range own {
		if r, ok := c.Ratios[lane]; ok {
			fmt.Printf(" %.3gx [%.3g, %.3g]", r.Median, r.Low, r.High)
		}
	}
	fmt.Println()
}

// timeline splits a flow as Windmill's study does: assignment is created to started, execution started to ended, transition ended to
// the creation of the next.
func (r *results) timeline(name string, spans [][3]float64) {
	t := timeline{}
	for i, s := range spans {
		t.Assignment += (s[1] - s[0]) / 1000
		t.Execution += (s[2] - s[1]) / 1000
		if i > 0 {
			t.Transition += (s[0] - spans[i-1][2]) / 1000
		}
		step := [3]float64{}
		for j := range step {
			step[j] = round3((s[j] - spans[0][0]) / 1000)
		}
		t.Steps = append(t.Steps, step)
	}
	if len(t.Steps) > 0 {
		r.Timelines[name] = t
	}
}

func (r *results) idle(name string, cpu, mb float64, processes int) {
	r.Idle[name] = idleUse{CPU: round3(cpu), Memory: round3(mb), Processes: processes}
}

func (r *results) kill(name string, k killed) { r.Kills[name] = k }
