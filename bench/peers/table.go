package main

import (
	"fmt"
	"slices"
	"strings"
)

// headlines are the works of the table at the top. What a peer does of fibo(33) depends on how much is measured.
var headlines = []struct{ Key, Title string }{
	{"empty", "W1: empty job"}, {"fibo10", "W2: 40 x fibo(10)"}, {"fibo33", "W3: fibo(33), above compute"}, {"steps", "W4: 3 durable steps"},
	{"fan-100", "W5: fan-out to 100"}, {"burn", "W6: burn-down"},
}

// headlineRow is one system: for each headline its figure, and of a peer how many times better our lanes were in the same run.
type headlineRow struct {
	Title, Process string
	Own            bool
	Cells          []headlineCell
	Failed         string // what went wrong with it, in one line
}

// headlineCell holds nothing for what was not measured.
type headlineCell struct {
	Figure              string
	Isolated, Dedicated ratio
}

// ratio says how many times better one of our lanes was.
type ratio struct {
	Text string
	Lost bool // the peer was better
}

func ratioOf(i interval) ratio { return ratio{times(i), i.N > 0 && i.Median < 1} }

// peers are those of which there is a figure or a failure, in the order of their names.
func (r *results) peers() []string {
	var out []string
	for _, c := range r.Comparisons {
		out = append(out, c.Peer)
	}
	for name := range r.Failures {
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(name string) bool { return slices.Contains(own, name) })
}

func (r *results) find(peer, key string) (comparison, bool) {
	for _, c := range r.Comparisons {
		if c.Peer == peer && c.Key == key {
			return c, true
		}
	}
	return comparison{}, false
}

// headline has our lanes first. Theirs are the medians of all comparisons; a ratio is one comparison's.
func (r *results) headline(onlyTuned bool) []headlineRow {
	var out []headlineRow
	for _, lane := range own {
		if _, measured := r.Systems[lane]; !measured {
			continue
		}
		row := r.headlineRow(lane)
		row.Own = true
		for _, h := range headlines {
			var all []float64
			unit := ""
			for _, c := range r.Comparisons {
				if c.Key == h.Key {
					all, unit = append(all, c.Results[lane].Rounds...), c.Unit
				}
			}
			cell := headlineCell{}
			if len(all) > 0 {
				cell.Figure = figure(median(all), unit)
			}
			row.Cells = append(row.Cells, cell)
		}
		out = append(out, row)
	}
	for _, p := range r.peers() {
		if onlyTuned && !r.Systems[p].Tuned {
			continue
		}
		row := r.headlineRow(p)
		for _, h := range headlines {
			cell := headlineCell{}
			if c, ok := r.find(p, h.Key); ok && len(c.Results[p].Rounds) > 0 {
				cell = headlineCell{figure(median(c.Results[p].Rounds), c.Unit), ratioOf(c.Ratios[own[0]]), ratioOf(c.Ratios[own[1]])}
			}
			row.Cells = append(row.Cells, cell)
		}
		out = append(out, row)
	}
	return out
}

// headlineRow is a row without its cells.
func (r *results) headlineRow(name string) headlineRow {
	s := r.Systems[name]
	return headlineRow{Title: s.Title, Process: s.Process, Failed: oneLine(r.Failures[name])}
}

const longestFailure = 200 // bytes of it in a table; the file has all

// oneLine is the beginning of an error, fit for a cell of a table.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longestFailure {
		text = strings.ToValidUTF8(text[:longestFailure], "") + " ..."
	}
	return text
}

func figure(v float64, unit string) string {
	switch {
	case unit == "ms" && v >= 1000:
		return digits3(v/1000) + " s"
	case unit == "1/s":
		return digits3(v) + "/s"
	}
	return digits3(v) + " " + unit
}

// digits3 writes three digits, or all before the point.
func digits3(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// times writes a ratio with its interval; below one we lose. What was done once has no interval.
func times(i interval) string {
	if i.N == 0 {
		return ""
	}
	if i.N == 1 {
		return digits3(i.Median) + "x"
	}
	return fmt.Sprintf("%sx (%s-%s)", digits3(i.Median), digits3(i.Low), digits3(i.High))
}
