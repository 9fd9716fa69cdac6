package main

import (
	"bytes"
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

// writeReport draws a page that needs nothing from anywhere, and the table for the README.
func writeReport(in, publishedFile, out string) error {
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
	var page bytes.Buffer
	err = pageTemplate.Execute(&page, map[string]any{"R": r, "Conditions": r.conditions(), "Headline": r.headline(), "Charts": charts,
		"Rows": r.rows(), "Published": elsewhere, "Kills": r.kills(), "KillNote": killNote})
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

// headlines are the comparisons of the table for the README.
var headlines = []struct{ key, title string }{
	{"empty", "empty job"}, {"fibo10", "40 x fibo(10)"}, {"fibo33", "10 x fibo(33), above compute"}, {"steps", "3 durable steps"},
	{"fan-100", "fan-out 100"}, {"burn", "burn-down"},
}

// headlineRow is one peer: for each headline its figure and how many times better our lanes were in the same run.
type headlineRow struct {
	Title, Process string
	Cells          []headlineCell
}

type headlineCell struct{ Figure, Isolated, Dedicated string }

func (r *results) peers() []string {
	var out []string
	for _, c := range r.Comparisons {
		if !slices.Contains(out, c.Peer) {
			out = append(out, c.Peer)
		}
	}
	return out
}

func (r *results) find(peer, key string) (comparison, bool) {
	for _, c := range r.Comparisons {
		if c.Peer == peer && c.Key == key {
			return c, true
		}
	}
	return comparison{}, false
}

func (r *results) headline() []headlineRow {
	var out []headlineRow
	for _, p := range r.peers() {
		row := headlineRow{Title: r.Systems[p].Title, Process: r.Systems[p].Process}
		for _, h := range headlines {
			cell := headlineCell{}
			if c, ok := r.find(p, h.key); ok {
				cell = headlineCell{figure(median(c.Results[p].Rounds), c.Unit), times(c.Ratios[own[0]]), times(c.Ratios[own[1]])}
			}
			row.Cells = append(row.Cells, cell)
		}
		out = append(out, row)
	}
	return out
}

func figure(v float64, unit string) string {
	switch {
	case unit == "ms" && v >= 1000:
		return fmt.Sprintf("%.3g s", v/1000)
	case unit == "1/s" && v >= 100:
		return fmt.Sprintf("%.0f/s", v)
	case unit == "1/s":
		return fmt.Sprintf("%.3g/s", v)
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}

// times writes a ratio with its interval; below one we lose.
func times(i interval) string {
	if i.N == 0 {
		return ""
	}
	if i.N == 1 {
		return fmt.Sprintf("%.3gx", i.Median)
	}
	return fmt.Sprintf("%.3gx (%.3g-%.3g)", i.Median, i.Low, i.High)
}

// row is a line of the table of everything.
type row struct {
	Peer, Work, Key, Title                 string
	Theirs, Isolated, Dedicated            string
	TheirTail, IsolatedTail, DedicatedTail string
	RatioIsolated, RatioDedicated          string
	Lost                                   bool // against one of our lanes the peer was better
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
		lost := false
		for _, i := range c.Ratios {
			lost = lost || i.N > 0 && i.Median < 1
		}
		out = append(out, row{Peer: r.Systems[c.Peer].Title, Work: c.Work, Key: c.Key, Title: c.Title, Theirs: value(c.Peer), Isolated: value(own[0]),
			Dedicated: value(own[1]), TheirTail: tail(c.Peer), IsolatedTail: tail(own[0]), DedicatedTail: tail(own[1]),
			RatioIsolated: times(c.Ratios[own[0]]), RatioDedicated: times(c.Ratios[own[1]]), Lost: lost})
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

const killNote = "Killed in mid-load (W9): everything but the store gets SIGKILL 0.3 s after a quarter of the accepted jobs has run, with others hanging in mid-run, and is started again. " +
	"Times are from the kill on and include the start. A job that had not run when the time was over may yet run: some systems take a job from a dead worker after minutes or hours."

// seconds is empty for what did not happen.
func seconds(s float64) string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", s)
}

func (r *results) markdown(elsewhere []published) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.conditions())
	b.WriteString("Each cell: the peer's figure; how many times better Millrace was in the same run, isolated / dedicated, with 95% intervals. Below 1x Millrace lost.\n\n")
	b.WriteString("| system |")
	for _, h := range headlines {
		fmt.Fprintf(&b, " %s |", h.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(headlines)) + "\n")
	for _, row := range r.headline() {
		fmt.Fprintf(&b, "| %s |", row.Title)
		for _, c := range row.Cells {
			if c.Figure == "" {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %s; %s / %s |", c.Figure, c.Isolated, c.Dedicated)
		}
		b.WriteString("\n")
	}
	if len(r.Kills) > 0 {
		fmt.Fprintf(&b, "\n%s\n\n| system | jobs accepted | had run before the kill | ran twice | had not run when the time was over | time, s | first job, s | all, s |\n|---|---|---|---|---|---|---|---|\n", killNote)
		for _, k := range r.kills() {
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %g | %s | %s |\n", k.Title, k.Jobs, k.Before, k.Twice, k.Missing, k.Limit, seconds(k.First), seconds(k.All))
		}
	}
	if len(r.Idle) > 0 {
		b.WriteString("\nWhen nothing happens (W10), everything of a system and its store together.\n\n| system | processor, % of a core | memory, MB (PSS) | processes |\n|---|---|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(r.Idle)) {
			i := r.Idle[name]
			fmt.Fprintf(&b, "| %s | %.3g | %.0f | %d |\n", r.Systems[name].Title, i.CPU, i.Memory, i.Processes)
		}
	}
	b.WriteString("\nPublished elsewhere, on other machines, of systems that have no adapter here. Not comparable with the table above.\n\n")
	b.WriteString("| system | work | figure | machine | source |\n|---|---|---|---|---|\n")
	for _, p := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", p.System, p.Work, p.Figure, p.Machine, p.Source)
	}
	return b.String()
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Millrace beside its peers</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #1f2328; background: #fff }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid #d1d9e0; padding: .3rem .5rem; text-align: left; vertical-align: top }
th { background: #f6f8fa } .lost td { background: #fff1e5 } small { color: #59636e } figure { margin: 1.5rem 0 } svg { max-width: 100%; height: auto }
</style>
<h1>Millrace beside its peers</h1>
<p>{{.Conditions}}</p>
<p>Every system ran on this machine, in turns with Millrace (A B B A), on servers of its own with the same settings; results were checked.
Ratios say how many times better Millrace was in the same run, with bootstrap intervals of 95%; rows in which Millrace lost are tinted.
Peers run their steps in processes that jobs share, which Millrace's dedicated lane is like; the isolated lane gives every job a new sandbox.</p>
{{range .Charts}}<figure><figcaption><b>{{.Title}}</b><br><small>{{.Note}}</small></figcaption>{{.SVG}}</figure>
{{end}}
<h2>Everything</h2>
<table><tr><th>peer<th>work<th>what<th>peer<th>p99<th>isolated<th>p99<th>dedicated<th>p99<th>isolated is better by<th>dedicated is better by</tr>
{{range .Rows}}<tr{{if .Lost}} class="lost"{{end}}><td>{{.Peer}}<td>{{.Work}}<td>{{.Title}}<td>{{.Theirs}}<td>{{.TheirTail}}<td>{{.Isolated}}<td>{{.IsolatedTail}}<td>{{.Dedicated}}<td>{{.DedicatedTail}}<td>{{.RatioIsolated}}<td>{{.RatioDedicated}}</tr>
{{end}}</table>
<h2>When nothing happens (W10)</h2>
<table><tr><th>system<th>processor, % of a core<th>memory, MB (PSS)<th>processes</tr>
{{range $name, $i := .R.Idle}}<tr><td>{{$name}}<td>{{$i.CPU}}<td>{{printf "%.0f" $i.Memory}}<td>{{$i.Processes}}</tr>
{{end}}</table>
{{if .Kills}}<h2>Killed in mid-load (W9)</h2>
<p>{{.KillNote}}</p>
<table><tr><th>system<th>jobs accepted<th>had run before the kill<th>ran twice<th>had not run when the time was over<th>time, s<th>first job, s<th>all, s</tr>
{{range .Kills}}<tr><td>{{.Title}}<td>{{.Jobs}}<td>{{.Before}}<td>{{.Twice}}<td>{{.Missing}}<td>{{.Limit}}<td>{{if .First}}{{.First}}{{end}}<td>{{if .All}}{{.All}}{{end}}</tr>
{{end}}</table>
{{end}}<h2>The systems</h2>
<table><tr><th>name<th>system<th>version<th>language of the steps<th>what separates jobs<th>commits</tr>
{{range $name, $s := .R.Systems}}<tr><td>{{$name}}<td><a href="{{$s.URL}}">{{$s.Title}}</a><td>{{$s.Version}}<td>{{$s.Language}}<td>{{$s.Process}}<td>{{$s.Commits}}</tr>
{{end}}</table>
<h2>Published elsewhere</h2>
<p>Measured by others on other machines, of systems that have no adapter here. Not comparable with anything above.</p>
<table><tr><th>system<th>work<th>figure<th>machine<th>source</tr>
{{range .Published}}<tr><td>{{.System}}<td>{{.Work}}<td>{{.Figure}}<td>{{.Machine}}<td>{{.Source}}</tr>
{{end}}</table>
</html>
`))
