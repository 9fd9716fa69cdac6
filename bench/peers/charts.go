package main

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// chart is a drawing for the page. Its legend is the page's: there it covers nothing, and its text is as wide as the reader's font makes it.
type chart struct {
	Title, Note string
	Legend      []legendEntry
	SVG         template.HTML
}

type legendEntry struct {
	Text   string
	Color  template.CSS
	Dashed bool
}

func cssColor(c color.Color) template.CSS {
	r, g, b, _ := c.RGBA()
	return template.CSS(fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)) // digits alone
}

const (
	chartWidth  = 26 * vg.Centimeter
	chartHeight = 12 * vg.Centimeter
)

// charts draws what there are figures for.
func (r *results) charts() ([]chart, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	var out []chart
	for _, make := range []func() (*plot.Plot, chart, error){
		func() (*plot.Plot, chart, error) { return r.distribution("empty", "Empty job, one client: latency") },
		func() (*plot.Plot, chart, error) {
			return r.distribution("steps", "Three durable steps, one client: latency")
		},
		r.throughput, r.burnDowns, r.flow,
	} {
		p, c, err := make()
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if c.SVG, err = render(p); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func render(p *plot.Plot) (template.HTML, error) {
	w, err := p.WriterTo(chartWidth, chartHeight, "svg")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return "", err
	}
	_, svg, _ := strings.Cut(b.String(), "<svg") // without the XML header, which has no place inside a page
	// Few readers have that font; Arial's letters are as wide.
	svg = strings.ReplaceAll(svg, "font-family:Liberation Sans", "font-family:Liberation Sans,Arial,sans-serif")
	return template.HTML("<svg" + svg), nil // made by this program from numbers and titles of config.json
}

// lines are the systems in a fixed order: ours first. Our figures are those of the comparison with the first peer that has the work.
func (r *results) lines(key string, each func(title string, m measured)) {
	first := true
	for _, p := range r.peers() {
		c, ok := r.find(p, key)
		if !ok {
			continue
		}
		if first {
			for _, lane := range own {
				if m, ok := c.Results[lane]; ok {
					each(r.Systems[lane].Title, m)
				}
			}
		}
		first = false
		each(r.Systems[p].Title, c.Results[p])
	}
}

// distribution draws how many of the runs took at most how long.
func (r *results) distribution(key, title string) (*plot.Plot, chart, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "milliseconds", "share of runs"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = 0, 1
	c := chart{Title: title, Note: "Left is faster, steep is steady. The scale is logarithmic."}
	var failed error
	r.lines(key, func(name string, m measured) {
		if m.Latencies == nil {
			return
		}
		h, err := m.Latencies.histogram()
		if err != nil {
			failed = err
			return
		}
		var points plotter.XYs
		for _, b := range h.CumulativeDistribution() {
			points = append(points, plotter.XY{X: math.Max(float64(b.ValueAt), 1) / 1000, Y: b.Quantile / 100})
		}
		failed = c.addLine(p, name, points, failed)
	})
	if len(c.Legend) == 0 || failed != nil {
		return nil, chart{}, failed
	}
	return p, c, nil
}

func (c *chart) addLine(p *plot.Plot, name string, points plotter.XYs, failed error) error {
	if failed != nil || len(points) == 0 {
		return failed
	}
	i := len(c.Legend)
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
	round := i / len(plotutil.SoftColors)
	line.Dashes = plotutil.Dashes(round)
	p.Add(line)
	c.Legend = append(c.Legend, legendEntry{name, cssColor(line.Color), round > 0})
	return nil
}

// throughput draws completions a second by the number of clients.
func (r *results) throughput() (*plot.Plot, chart, error) {
	return r.growth("rate-", []int{1, 4, 16, 64, 256}, "clients",
		chart{Title: "Throughput against clients", Note: "Closed loop, completions within the time. Both scales are logarithmic."})
}

// burnDowns draws jobs a second by how many there were.
func (r *results) burnDowns() (*plot.Plot, chart, error) {
	return r.growth("jobs-", []int{1000, 10_000, 100_000, 1_000_000}, "jobs at once",
		chart{Title: "Burn-down against jobs", Note: "From the bulk call on. What would have taken too long is not there. Both scales are logarithmic."})
}

// growth draws figures whose keys end with what grows. In a run with --scale there is a line for each number of slots.
func (r *results) growth(key string, values []int, axis string, c chart) (*plot.Plot, chart, error) {
	byName := map[string]plotter.XYs{}
	var order []string
	for _, slots := range append([]int{0}, slotSeries...) {
		prefix, suffix := "", ""
		if slots > 0 {
			n := slots * r.Machine.Cores
			prefix, suffix = slotPrefix(n), fmt.Sprintf(", %d slots", n)
		}
		for _, x := range values {
			r.lines(prefix+key+strconv.Itoa(x), func(name string, m measured) {
				if v := median(m.Rounds); v > 0 {
					name += suffix
					if byName[name] == nil {
						order = append(order, name)
					}
					byName[name] = append(byName[name], plotter.XY{X: float64(x), Y: v})
				}
			})
		}
	}
	if len(order) == 0 {
		return nil, chart{}, nil
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = axis, "empty jobs a second"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	var failed error
	for _, name := range order {
		failed = c.addLine(p, name, byName[name], failed)
	}
	return p, c, failed
}

// flow draws the parts of 40 x fibo(10) as stacked bars.
func (r *results) flow() (*plot.Plot, chart, error) {
	var names []string
	parts := make([]plotter.Values, 3)
	for _, name := range append(append([]string{}, own...), r.peers()...) {
		t, ok := r.Timelines[name]
		if !ok {
			continue
		}
		names = append(names, name) // short, as the table of the systems has it
		for i, v := range []float64{t.Assignment, t.Execution, t.Transition} {
			parts[i] = append(parts[i], math.Max(v, 0))
		}
	}
	if len(names) == 0 {
		return nil, chart{}, nil
	}
	p := plot.New()
	p.X.Label.Text = "milliseconds for 40 steps"
	c := chart{Title: "40 x fibo(10) taken apart", Note: "Assignment: a step's creation to its start; execution: to its end; transition: to the next one's creation. " +
		"Where a system does not say when a step was created, the whole gap counts as assignment."}
	var below *plotter.BarChart
	for i, title := range []string{"assignment", "execution", "transition"} {
		bars, err := plotter.NewBarChart(parts[i], vg.Points(12))
		if err != nil {
			return nil, chart{}, err
		}
		bars.Horizontal, bars.LineStyle.Width = true, 0
		bars.Color = []color.Color{color.RGBA{R: 0xd9, G: 0x8a, B: 0x2b, A: 0xff}, color.RGBA{R: 0x2b, G: 0x8a, B: 0x5a, A: 0xff},
			color.RGBA{R: 0x2b, G: 0x6c, B: 0xb0, A: 0xff}}[i]
		if below != nil {
			bars.StackOn(below)
		}
		below = bars
		p.Add(bars)
		c.Legend = append(c.Legend, legendEntry{Text: title, Color: cssColor(bars.Color)})
	}
	p.NominalY(names...)
	return p, c, nil
}
