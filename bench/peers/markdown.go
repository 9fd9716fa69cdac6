package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// markdown is everything but the single works, whose table is the page's. Where there are no others, as in a series, it is them.
func (r *results) markdown(elsewhere []published) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.conditions())
	if slices.ContainsFunc(r.Comparisons, isHeadline) {
		b.WriteString(r.summary(false))
	} else {
		b.WriteString(r.each())
	}
	if len(r.Kills) > 0 {
		fmt.Fprintf(&b, "\n%s\n\n| system | jobs accepted | had run before the kill | ran twice | had not run when the time was over | time, s | first job, s | all, s |\n|---|---|---|---|---|---|---|---|\n", killNote)
		for _, k := range r.kills() {
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %g | %s | %s |\n", k.Title, k.Jobs, k.Before, k.Twice, k.Missing, k.Limit, seconds(k.First), seconds(k.All))
		}
	}
	if len(r.Idle) > 0 {
		b.WriteString("\nWhen nothing happens (W10), everything of a system and its store together.\n\n| system | processor, % of a core | memory, MB (PSS) | processes |\n|---|---|---|---|\n")
		for _, i := range r.idleRows() {
			fmt.Fprintf(&b, "| %s | %.3g | %.0f | %d |\n", i.Title, i.CPU, i.Memory, i.Processes)
		}
	}
	b.WriteString("\nPublished elsewhere, on other machines, of systems that have no adapter here. Not comparable with the table above.\n\n")
	b.WriteString("| system | work | figure | machine | source |\n|---|---|---|---|---|\n")
	for _, p := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", p.System, p.Work, p.Figure, p.Machine, p.Source)
	}
	return b.String()
}

func isHeadline(c comparison) bool {
	return slices.ContainsFunc(headlines, func(h struct{ Key, Title string }) bool { return h.Key == c.Key })
}

// each is the table of single works.
func (r *results) each() string {
	var b strings.Builder
	b.WriteString("How many times better Millrace was in the same run: isolated / dedicated. **Bold: Millrace lost.**\n\n" +
		"| system | work | key | its figure | Millrace, isolated | Millrace, dedicated | ratios |\n|---|---|---|---|---|---|---|\n")
	for _, w := range r.rows() {
		fmt.Fprintf(&b, "| %s | %s: %s | %s | %s | %s | %s | %s / %s |\n", w.Peer, w.Work, w.Title, w.Key, w.Theirs, w.Isolated, w.Dedicated,
			w.RatioIsolated.markdown(), w.RatioDedicated.markdown())
	}
	return b.String()
}

const summaryNote = "A peer's cell: its figure; how many times better Millrace was in the same run, isolated / dedicated, with 95% intervals of the rounds " +
	"where there were several. **Bold: Millrace lost.** Millrace's own cells are the medians of all comparisons. An empty cell was not measured."

// summary is the table of the headlines with its legend. Without onlyTuned it has every variant.
func (r *results) summary(onlyTuned bool) string {
	var b strings.Builder
	b.WriteString(summaryNote + "\n\n| system and what its jobs share |")
	for _, h := range headlines {
		fmt.Fprintf(&b, " %s |", h.Title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(headlines)) + "\n")
	for _, row := range r.headline(onlyTuned) {
		title := row.Title
		if row.Own {
			title = "**" + title + "**"
		}
		fmt.Fprintf(&b, "| %s: %s", title, row.Process)
		if row.Failed != "" {
			fmt.Fprintf(&b, "; failed: %s", strings.ReplaceAll(row.Failed, "|", "\\|"))
		}
		b.WriteString(" |")
		for _, c := range row.Cells {
			b.WriteString(c.markdown() + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (c headlineCell) markdown() string {
	switch {
	case c.Figure == "":
		return ""
	case c.Isolated.Text+c.Dedicated.Text == "":
		return " " + c.Figure
	}
	return fmt.Sprintf(" %s; %s / %s", c.Figure, c.Isolated.markdown(), c.Dedicated.markdown())
}

func (r ratio) markdown() string {
	if r.Lost {
		return "**" + r.Text + "**"
	}
	return r.Text
}

// The README's table stands between these.
const (
	readmeBegin = "<!-- peers -->\n"
	readmeEnd   = "<!-- /peers -->"
)

// fillReadme replaces what stands between the marks by the table of the best tuned variants. source is the file with the figures.
func (r *results) fillReadme(file, source string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(b), readmeBegin)
	_, after, closed := strings.Cut(rest, readmeEnd)
	if !found || !closed {
		return fmt.Errorf("%s has no %q with a %q below it", file, strings.TrimSpace(readmeBegin), readmeEnd)
	}
	raw, err := filepath.Rel(filepath.Dir(file), source)
	if err != nil {
		return err
	}
	beside := strings.TrimSuffix(raw, ".json")
	table := fmt.Sprintf("%[1]s\n\n%[4]s\nEvery round and histogram is in [%[2]s.json](%[3]s.json), from which `make bench-report` writes this table, [kills and idle systems](%[3]s.md), and all works with plots (%[3]s.html).\n",
		r.conditions(), filepath.Base(beside), beside, r.summary(true))
	return os.WriteFile(file, []byte(before+readmeBegin+table+readmeEnd+after), 0o644)
}

// seconds is empty for what did not happen.
func seconds(s float64) string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", s)
}
