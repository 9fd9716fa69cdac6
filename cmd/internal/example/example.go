// Package example holds what "millrace serve --example" shows a newcomer: a file of orders that goes through a flow of scripts in
// four languages.
//
//	orders.csv -> Python (reads it, with two packages from PyPI) -> TypeScript (checks and adds up)
//	           -> at the same time: Go (statistics of the amounts)  and  Bash (a chart of the countries, with awk)
//
// Run deploys the scripts as f/example/* and the flow as f/example/orders through the same client that everybody uses, runs the flow
// once and prints its steps with their times and its result.
package example

import (
	"embed"
	"encoding/json"
	"fmt"
)

//go:embed orders.csv
var orders string

//go:embed scripts
var scripts embed.FS

// flowFolder is laid out as wmill sync does it.
//
//go:embed orders__flow
var flowFolder embed.FS

// flowPath is where the flow is deployed.
const flowPath = "f/example/orders"

// script is one script of the example.
type script struct {
	name     string // f/example/<name>
	title    string // of the language
	language string
	file     string // in scripts
	summary  string
}

var list = []script{
	{name: "read_orders", title: "Python", language: "python3", file: "read_orders.py", summary: "Reads a CSV of orders"},
	{name: "check_orders", title: "TypeScript", language: "bun", file: "check_orders.ts", summary: "Checks orders and adds them up by country"},
	{name: "statistics", title: "Go", language: "go", file: "statistics.go.txt", summary: "Describes a list of amounts"},
	{name: "report", title: "Bash", language: "bash", file: "report.sh", summary: "Draws a chart of countries"},
}

// arguments are those of the flow.
func arguments() (json.RawMessage, error) { return json.Marshal(map[string]string{"file": orders}) }

// told is what the flow returns: what each of its two branches does.
type told struct {
	Statistics json.RawMessage
	Report     string
}

func readTold(result json.RawMessage) (t told, err error) {
	var both []json.RawMessage
	if err := json.Unmarshal(result, &both); err != nil || len(both) != 2 {
		return t, fmt.Errorf("the flow returned %.200s", result)
	}
	t.Statistics = both[0]
	if err := json.Unmarshal(both[1], &t.Report); err != nil {
		return t, fmt.Errorf("the chart returned %.200s", both[1])
	}
	return t, nil
}
