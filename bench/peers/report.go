package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"os"
	"slices"
	"strings"
)

// published is published.json: figures that others measured elsewhere, of systems that have no adapter here.
type published struct {
	System  string `json:"system"`
	Work    string `json:"work"`
	Figure  string `json:"figure"`
	Machine string `json:"machine"`
	Source  string `json:"source"`
}

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// writeReport draws a page that needs nothing from anywhere, writes the tables beside it, and the one of a README where one is named.
func writeReport(in, publishedFile, out, readme string) error {
	r, err := readResults(in)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(publishedFile)
	if err != nil {
		return err
	}
	var elsewhere []published
	if err := json.Unmarshal(b, &elsewhere); err != nil {
		return fmt.Errorf("%s: %w", publishedFile, err)
	}
	charts, err := r.charts()
	if err != nil {
		return err
	}
	if readme != "" {
		if err := r.fillReadme(readme, in); err != nil {
			return err
		}
	}
	var page bytes.Buffer
	err = pageTemplate.Execute(&page, map[string]any{"R": r, "Conditions": r.conditions(), "Headlines": headlines, "Headline": r.headline(false), "Charts": charts,
		"Rows": r.rows(), "Published": elsewhere, "Kills": r.kills(), "Idle": r.idleRows(), "KillNote": killNote})
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, page.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(out, ".html")+".md", []byte(r.markdown(elsewhere)), 0o644)
}

// conditions is what every table is headed by.
func (r *results) conditions() string {
	m := r.Machine
	text := fmt.Sprintf("%s: %s, %d cores, %g GB, Linux %s, %s, fdatasync p50 %.2f ms, p99 %.2f ms, %d slots.",
		r.When.Format("2006-01-02"), m.CPU, m.Cores, m.MemoryGB, m.Kernel, m.Postgres, m.FsyncP50, m.FsyncP99, r.Slots)
	if r.FlushDelay > 0 {
		text += fmt.Sprintf(" %g ms added to every flush of the stores.", r.FlushDelay)
	}
	if r.Quick {
		text += " A quick run: few repetitions, wide intervals."
	}
	if r.Note != "" {
		text += " " + r.Note
	}
	return text
}

// row is a line of the table of everything.
type row struct {
	Peer, Work, Key, Title                 string
	Theirs, Isolated, Dedicated            string
	TheirTail, IsolatedTail, DedicatedTail string
	RatioIsolated, RatioDedicated          ratio
}

func (r *results) rows() []row {
	var out []row
	for _, c := range r.Comparisons {
		value := func(name string) string {
			if m, ok := c.Results[name]; ok && len(m.Rounds) > 0 {
				return figure(median(m.Rounds), c.Unit)
			}
			return ""
		}
		tail := func(name string) string {
			if l := c.Results[name].Latencies; l != nil && l.P99 > 0 {
				return figure(l.P99, "ms")
			}
			return ""
		}
		isolated, dedicated := ratioOf(c.Ratios[own[0]]), ratioOf(c.Ratios[own[1]])
		out = append(out, row{Peer: r.Systems[c.Peer].Title, Work: c.Work, Key: c.Key, Title: c.Title, Theirs: value(c.Peer), Isolated: value(own[0]),
			Dedicated: value(own[1]), TheirTail: tail(c.Peer), IsolatedTail: tail(own[0]), DedicatedTail: tail(own[1]),
			RatioIsolated: isolated, RatioDedicated: dedicated})
	}
	return out
}

// killRow is a system's line of the table of kills.
type killRow struct {
	Title string
	killed
}

func (r *results) kills() []killRow {
	var out []killRow
	for _, name := range slices.Sorted(maps.Keys(r.Kills)) {
		out = append(out, killRow{r.Systems[name].Title, r.Kills[name]})
	}
	return out
}

// idleRow is a system's line of the table of idle ones.
type idleRow struct {
	Title string
	idleUse
}

func (r *results) idleRows() []idleRow {
	var out []idleRow
	for _, name := range slices.Sorted(maps.Keys(r.Idle)) {
		out = append(out, idleRow{r.Systems[name].Title, r.Idle[name]})
	}
	return out
}

const killNote = "Killed in mid-load (W9): everything but the store gets SIGKILL 0.3 s after a quarter of the accepted jobs has run, with others hanging in mid-run, and is started again. " +
	"Times are from the kill on and include the start. A job that had not run when the time was over may yet run: some systems take a job from a dead worker after minutes or hours."
