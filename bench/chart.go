package main

import (
	"bytes"
	"fmt"
	"math"
)

// The chart of growth: one small panel for each operation, the number of jobs in the tables to the right (in powers of ten), the
// time of one operation upwards from zero. What does not grow is flat.
const (
	panelWidth, panelHeight = 300, 190
	plotLeft, plotTop       = 58, 44
	plotWidth, plotHeight   = 224, 108
	panelsInRow             = 3
	chartTop                = 54

	mostlyWaiting = 20 // times the processor time
)

const chartStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 13px } .small { font-size: 11px; fill: #59636e }
.axis { stroke: #d1d9e0; fill: none } .cpu { stroke: #0b5fb0; fill: none; stroke-width: 2.5 } .wall { stroke: #b35900; fill: none; stroke-width: 1.5; stroke-dasharray: 4 3 }
.cpudot { fill: #0b5fb0 } .walldot { fill: #b35900 } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 } .axis { stroke: #3d444d } .cpu { stroke: #6cb6ff } .wall { stroke: #f0a356 }
.cpudot { fill: #6cb6ff } .walldot { fill: #f0a356 } .back { fill: #0d1117 }
}
</style>
`

func (r growthReport) chart() []byte {
	var b bytes.Buffer
	rows := (len(r.Costs) + panelsInRow - 1) / panelsInRow
	width, height := panelsInRow*panelWidth, chartTop+rows*panelHeight+8
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="cost of operations by jobs in the tables">`+"\n",
		width, height, width, height)
	b.WriteString(chartStyle)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="title" x="16" y="22">Cost of one operation, by completed jobs in the tables</text>`+"\n")
	fmt.Fprintf(&b, `<line class="cpu" x1="16" y1="38" x2="40" y2="38"/><text class="small" x="46" y="42">processor time of PostgreSQL</text>`)
	fmt.Fprintf(&b, `<line class="wall" x1="226" y1="38" x2="250" y2="38"/><text class="small" x="256" y="42">time until done, median</text>`+"\n")
	for i, c := range r.Costs {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%panelsInRow*panelWidth, chartTop+i/panelsInRow*panelHeight)
		r.panel(&b, c)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// panel draws one operation.
func (r growthReport) panel(b *bytes.Buffer, c growthCost) {
	wall := c.P50
	if len(c.CPU) > 0 && len(wall) > 0 && wall[0] > mostlyWaiting*c.CPU[0] {
		wall = nil // the wait of many for each other, at which the cost could not be seen
	}
	top := 0.0
	for _, list := range [][]float64{c.CPU, wall} {
		for _, v := range list {
			top = max(top, v)
		}
	}
	top = niceAbove(top)
	fmt.Fprintf(b, `<text class="title" x="16" y="24">%s</text>`+"\n", c.Title)
	for _, share := range []float64{0, 0.5, 1} {
		y := plotTop + plotHeight*(1-share)
		fmt.Fprintf(b, `<line class="axis" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text class="small" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, y, plotLeft+plotWidth, y, plotLeft-6, y+4, microseconds(share*top))
	}
	for i, n := range r.Rows {
		fmt.Fprintf(b, `<text class="small" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", r.x(i), plotTop+plotHeight+16, power(n))
	}
	for _, line := range []struct {
		class  string
		values []float64
	}{{"wall", wall}, {"cpu", c.CPU}} {
		path, dots := "", ""
		for i, v := range line.values {
			y := plotTop + plotHeight*(1-v/top)
			path += fmt.Sprintf("%.1f,%.1f ", r.x(i), y)
			dots += fmt.Sprintf(`<circle class="%sdot" cx="%.1f" cy="%.1f" r="2.5"/>`, line.class, r.x(i), y)
		}
		fmt.Fprintf(b, `<polyline class="%s" points="%s"/>%s`+"\n", line.class, path, dots)
	}
}

// x is where the i-th step lies.
func (r growthReport) x(i int) float64 {
	first, last := math.Log10(float64(r.Rows[0])), math.Log10(float64(r.Rows[len(r.Rows)-1]))
	if last == first {
		return plotLeft + plotWidth/2
	}
	return plotLeft + 8 + (plotWidth-16)*(math.Log10(float64(r.Rows[i]))-first)/(last-first)
}

// niceAbove is the least of 1, 2, 4, 6, 8 times a power of ten that is not below v.
func niceAbove(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, k := range []float64{1, 2, 4, 6, 8} {
		if k*unit >= v {
			return k * unit
		}
	}
	return 10 * unit
}

func microseconds(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1e6:
		return fmt.Sprintf("%g s", round(v/1e6))
	case v >= 1000:
		return fmt.Sprintf("%g ms", round(v/1000))
	}
	return fmt.Sprintf("%g µs", round(v))
}

// power writes the powers of ten short.
func power(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}
