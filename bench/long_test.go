package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestChart(t *testing.T) {
	r := growthReport{Rows: []int{1000, 10_000, 100_000, 1_000_000, 10_000_000}, Costs: []growthCost{
		{Title: "a job", CPU: []float64{60, 61, 59, 62, 60}, P50: []float64{900, 910, 905, 920, 915}},
		{Title: "a crowd", CPU: []float64{60, 61, 59, 62, 60}, P50: []float64{9000, 9100, 9050, 9200, 9150}},
		{Title: "a list", CPU: []float64{60, 610, 5900, 62000, 600000}, P50: []float64{60, 610, 5900, 62000, 610000}},
	}}
	svg := string(r.chart())
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
	}
	for _, want := range []string{">a job</text>", ">10M</text>", ">1 ms</text>", ">800 ms</text>", "prefers-color-scheme: dark"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	if n := strings.Count(svg, "<circle"); n != 25 {
		t.Errorf("%d points, want 25", n)
	}
	if got := (growthReport{Rows: []int{1000}, Costs: []growthCost{{CPU: []float64{0}, P50: []float64{0}}}}).chart(); strings.Contains(string(got), "NaN") {
		t.Errorf("one step of nothing: %s", got)
	}
	for v, want := range map[float64]float64{0: 1, 0.9: 1, 1: 1, 61: 80, 920: 1000, 4100: 6000} {
		if got := niceAbove(v); got != want {
			t.Errorf("above %v: %v, want %v", v, got, want)
		}
	}
}

func TestGrowthPrint(t *testing.T) {
	var out strings.Builder
	growthReport{Rows: []int{1000, 10_000}, Backlog: 5, Costs: []growthCost{{Title: "count", CPU: []float64{40, 100}}, {Title: "nothing"}}}.print(&out)
	if !strings.Contains(out.String(), "2.50") || !strings.Contains(out.String(), "0.00") {
		t.Error(out.String())
	}
}

func TestSoakPrint(t *testing.T) {
	var out strings.Builder
	soakReport{Seconds: 10, Rate: 100, Pushed: 1000, StartP99: 12, Growth: []tendency{{"memory", 100, 105, 10}, {"heap of q", 4, 40, 5}},
		Failures: []string{"heap of q grew"}}.print(&out)
	for _, want := range []string{"target 10)  missed", "memory                              100.0 ->    105.0  flat", "40.0  GROWS", "failed: heap of q grew"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestLongArguments(t *testing.T) {
	for _, args := range [][]string{{"soak", "--time", "0s"}, {"soak", "--rate", "-1"}, {"soak", "extra"}, {"soak", "--time", "90000h"}, {"growth", "--rows", "10"}, {"growth", "--n", "1"},
		{"growth", "--rows", "900000000000"}} {
		if found, err := runLong(t.Context(), args); !found || err == nil {
			t.Errorf("%v: found %v, %v", args, found, err)
		}
	}
	if found, err := runLong(t.Context(), []string{"--only", "noop"}); found || err != nil {
		t.Errorf("the ordinary form: %v %v", found, err)
	}
}
