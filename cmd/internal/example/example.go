// Package example holds what "millrace serve --example" shows a newcomer: a file of orders that goes through four scripts in
// four languages, each fed with the result of the one before.
//
//	orders.csv -> Python (reads it, with two packages from PyPI) -> TypeScript (checks and adds up)
//	           -> Go (statistics of the amounts)  and  Bash (a chart of the countries, with awk)
//
// Run deploys them as f/example/* through the same client that everybody uses, runs each once and prints the results with
// their times.
package example

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed orders.csv
var orders string

//go:embed scripts
var scripts embed.FS

// step is one script of the example.
type step struct {
	name     string // f/example/<name>
	title    string // of the language
	language string
	file     string // in scripts
	summary  string
	// args makes the arguments from the results so far, by name of the step.
	args func(results map[string]json.RawMessage) (any, error)
	// show shortens the result for people.
	show func(result json.RawMessage) (string, error)
}

var steps = []step{
	{name: "read_orders", title: "Python", language: "python3", file: "read_orders.py", summary: "Reads a CSV of orders",
		args: func(map[string]json.RawMessage) (any, error) { return map[string]any{"file": orders}, nil },
		show: showOrders},
	{name: "check_orders", title: "TypeScript", language: "bun", file: "check_orders.ts", summary: "Checks orders and adds them up by country",
		args: func(r map[string]json.RawMessage) (any, error) {
			var read struct{ Orders json.RawMessage }
			err := json.Unmarshal(r["read_orders"], &read)
			return map[string]any{"orders": read.Orders}, err
		},
		show: showChecked},
	{name: "statistics", title: "Go", language: "go", file: "statistics.go.txt", summary: "Describes a list of amounts",
		args: func(r map[string]json.RawMessage) (any, error) {
			c, err := readChecked(r["check_orders"])
			return map[string]any{"amounts": c.Amounts}, err
		},
		show: func(result json.RawMessage) (string, error) { return string(result), nil }},
	{name: "report", title: "Bash", language: "bash", file: "report.sh", summary: "Draws a chart of countries",
		args: func(r map[string]json.RawMessage) (any, error) {
			c, err := readChecked(r["check_orders"])
			var table strings.Builder
			for _, country := range c.Countries {
				fmt.Fprintf(&table, "%s;%.2f\n", country.Country, country.Total)
			}
			return map[string]any{"table": strings.TrimSpace(table.String()), "width": "30"}, err
		},
		show: func(result json.RawMessage) (string, error) { return string(result), nil }},
}

type checked struct {
	Currency  string    `json:"currency"`
	Amounts   []float64 `json:"amounts"`
	Countries []struct {
		Country string  `json:"country"`
		Total   float64 `json:"total"`
	} `json:"countries"`
	Rejected []json.RawMessage `json:"rejected"`
}

func readChecked(result json.RawMessage) (c checked, err error) {
	if err := json.Unmarshal(result, &c); err != nil {
		return c, fmt.Errorf("result of check_orders: %w", err)
	}
	return c, nil
}

func showOrders(result json.RawMessage) (string, error) {
	var read struct{ Orders, Unreadable []json.RawMessage }
	if err := json.Unmarshal(result, &read); err != nil || len(read.Orders) == 0 {
		return "", fmt.Errorf("no orders were read: %.200s (%w)", result, err)
	}
	return fmt.Sprintf("%d orders read, %d lines unreadable; the first: %s", len(read.Orders), len(read.Unreadable), read.Orders[0]), nil
}

func showChecked(result json.RawMessage) (string, error) {
	c, err := readChecked(result)
	if err != nil || len(c.Countries) == 0 {
		return "", fmt.Errorf("no countries: %.200s (%w)", result, err)
	}
	return fmt.Sprintf("%d orders kept, %d rejected, %d countries; first %s with %.2f %s",
		len(c.Amounts), len(c.Rejected), len(c.Countries), c.Countries[0].Country, c.Countries[0].Total, c.Currency), nil
}
