package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/fault"
)

// report is what is written to --out.
type report struct {
	Date    string          `json:"date"`
	Seed    uint64          `json:"seed"`
	Kills   int             `json:"kills"` // inflicted, in all
	CPUs    int             `json:"cpus"`
	Seconds float64         `json:"seconds"`
	Faults  []*fault.Report `json:"faults"`
}

func newReport(o options) *report {
	return &report{Date: time.Now().UTC().Format(time.RFC3339), Seed: o.seed, CPUs: runtime.NumCPU()}
}

// line says in one line how a fault went.
func line(r *fault.Report) string {
	switch {
	case r.Skipped != "":
		return fmt.Sprintf("%-18s skipped: %s", r.Fault, r.Skipped)
	case r.Failed != "":
		return fmt.Sprintf("%-18s FAILED after %.0f s: %s", r.Fault, r.Seconds, r.Failed)
	}
	verdict := "ok"
	if !r.OK() {
		verdict = "BROKEN"
	}
	text := fmt.Sprintf("%-18s %-6s %3d hits, %3d kills, %6d pushes and %6d completions acknowledged, %d violations, %.0f s",
		r.Fault, verdict, r.Hits, r.Kills, r.Pushes, r.Completions, r.Violations(), r.Seconds)
	for _, n := range r.Notes {
		text += "\n    " + n
	}
	if !r.Control {
		for _, f := range r.Findings {
			text += "\n    " + f
		}
	}
	return text
}

// bad names the faults that did not end as they should.
func (r *report) bad() (out []string) {
	for _, f := range r.Faults {
		switch {
		case f.OK():
		case f.Failed != "":
			out = append(out, fmt.Sprintf("%s: %s", f.Fault, f.Failed))
		case f.Control:
			out = append(out, f.Fault+": nothing was found lost, so the check is blind")
		default:
			out = append(out, fmt.Sprintf("%s: %d promises were broken", f.Fault, f.Violations()))
		}
	}
	return out
}

var columns = []string{"fault", "hits", "kills", "acked pushes", "acked completions", "late refused", "lost", "twice", "stale", "stuck", "max recovery ms"}

// table is the report as Markdown, which people read as it is, too.
func (r *report) table() string {
	rows := [][]string{columns, {"---"}}
	for range columns[1:] {
		rows[1] = append(rows[1], "---:")
	}
	r.Kills = 0
	for _, f := range r.Faults {
		if f.Skipped != "" || f.Failed != "" {
			rows = append(rows, []string{f.Fault, f.Skipped + f.Failed})
			continue
		}
		r.Kills += f.Kills
		row := []string{f.Fault}
		for _, n := range []int{f.Hits, f.Kills, f.Pushes, f.Completions, f.Refused, f.Lost(), f.Twice, f.Stale, f.Stuck + f.Phantom} {
			row = append(row, fmt.Sprint(n))
		}
		rows = append(rows, append(row, fmt.Sprintf("%.0f", f.Recovery)))
	}
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			if len(row) == len(columns) {
				widths[i] = max(widths[i], len(cell))
			}
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
			} else {
				fmt.Fprintf(&b, "| %*s ", widths[i], cell)
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// save writes the report and, beside it, its table.
func (r *report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{path: string(text) + "\n", strings.TrimSuffix(path, filepath.Ext(path)) + ".md": r.table()} {
		if err := os.WriteFile(name+".tmp", []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(name+".tmp", name); err != nil {
			return err
		}
	}
	return nil
}
