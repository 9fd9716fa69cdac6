// Package check judges a flow before it is deployed: what would fail, or not do what it seems to say, when the flow runs. It
// runs nothing; what lies outside of the flow, scripts and other flows and what languages know of their results, it asks for
// through a Lookup.
//
// An Error is certain and stops a deployment; a Warning may be meant. Each Finding says where: module, field, line and column.
package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/expr"
	"github.com/millrace/millrace/engine/flow/format"
)

// Severity is how sure a Finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Finding is one thing that is wrong with a flow, or may be.
type Finding struct {
	Severity Severity `json:"severity"`
	Module   string   `json:"module,omitempty"` // id; "" for the flow itself
	Field    string   `json:"field,omitempty"`  // path within the module: "value.iterator.expr"
	Line     int      `json:"line,omitempty"`   // 0: the flow was not read from a text
	Column   int      `json:"column,omitempty"`
	Msg      string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

func (f Finding) String() string {
	s := string(f.Severity)
	if f.Line > 0 {
		s += fmt.Sprintf(" %d:%d", f.Line, f.Column)
	}
	if f.Module != "" {
		s += " module " + f.Module
	}
	if f.Field != "" {
		s += " " + f.Field
	}
	s += ": " + f.Msg
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Target is what is known of something that a step runs. Both schemas are JSON Schemas; nil: not known.
type Target struct {
	Inputs json.RawMessage
	Result json.RawMessage
}

// Lookup knows what lies outside of a flow. Each function may be nil: then nothing is known, and nothing said, of its kind. One
// that returns nil without an error says that there is no such thing.
type Lookup struct {
	// Path is where the flow is deployed, to find a flow that runs itself.
	Path string
	// Script is a deployed script; hash is "" for its latest version.
	Script func(ctx context.Context, path, hash string) (*Target, error)
	// Flow is a deployed flow.
	Flow func(ctx context.Context, path string) (*format.Flow, error)
	// Source is what a language says of a script written in the flow. Its errors are the language's on that source.
	Source func(language, content string) (*Target, error)
}

// Limits of a flow.
const (
	MaxDepth   = 50      // of loops and branches in each other
	MaxModules = 100_000 // in one flow
	maxCalls   = 50      // of flows that run flows
)

// Flow judges a flow. The error is one of a lookup, or ctx's; findings are not an error.
func Flow(ctx context.Context, f *format.Flow, lookup Lookup) ([]Finding, error) {
	c := &checker{ctx: ctx, flow: f, lookup: lookup, modules: map[string]*info{}, inputs: parseShape(f.Schema),
		programs: map[string]*expr.Program{}, scripts: map[[2]string]*Target{}, flows: map[string]*format.Flow{}}
	c.collect()
	if c.tooLarge {
		return c.sorted(), nil
	}
	c.settings()
	c.walk()
	if c.err == nil {
		c.cycles()
	}
	return c.sorted(), c.err
}

// Problems turns what a parser found into findings.
func Problems(problems format.Problems) []Finding {
	out := make([]Finding, len(problems))
	for i, p := range problems {
		out[i] = Finding{Severity: Error, Module: p.Module, Field: p.Field, Line: p.Pos.Line, Column: p.Pos.Column,
			Msg: p.Msg, Hint: p.Hint}
	}
	return out
}

// Fatal tells whether there is an Error among findings.
func Fatal(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error })
}

// Refusal makes one error of the Errors among findings; nil when there is none.
func Refusal(op, path string, findings []Finding) error {
	var lines []string
	for _, f := range findings {
		if f.Severity == Error {
			lines = append(lines, f.String())
		}
	}
	if lines == nil {
		return nil
	}
	return &engine.Error{Code: engine.Invalid, Op: op, Path: path, Msg: strings.Join(lines, "\n")}
}

// checker is one judgement.
type checker struct {
	ctx      context.Context
	flow     *format.Flow
	lookup   Lookup
	inputs   *shape // of the flow; nil: not known
	modules  map[string]*info
	programs map[string]*expr.Program
	scripts  map[[2]string]*Target // by path and hash, as far as they were asked for
	flows    map[string]*format.Flow
	findings []Finding
	tooLarge bool
	err      error // of a lookup; the first
}

// info is what is known of a module from its place.
type info struct {
	module *format.Module
	at     format.Place
	parent *info
	target *Target // of what it runs
	asked  bool    // whether target was looked for
}

func (c *checker) add(s Severity, m *format.Module, field string, pos format.Pos, msg, hint string) {
	f := Finding{Severity: s, Field: field, Line: pos.Line, Column: pos.Column, Msg: msg, Hint: hint}
	if m != nil {
		f.Module = m.ID
	}
	c.findings = append(c.findings, f)
}

// wrong reports an error in a field of a part of a module.
func (c *checker) wrong(m *format.Module, at format.Pos, field, msg, hint string) {
	c.add(Error, m, field, at, msg, hint)
}

func (c *checker) doubtful(m *format.Module, at format.Pos, field, msg, hint string) {
	c.add(Warning, m, field, at, msg, hint)
}

// sorted returns the findings in the order of the text.
func (c *checker) sorted() []Finding {
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(c.findings)
}
