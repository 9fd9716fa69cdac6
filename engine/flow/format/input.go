package format

import (
	"encoding/json"
	"strings"
)

// Where the value of an Input comes from.
const (
	Static     = "static"     // written in the flow; strings "$res:path" and "$var:path" stand for a resource, a variable
	JavaScript = "javascript" // an expression
	AI         = "ai"         // chosen by an agent
)

// Input says where a value comes from.
type Input struct {
	Source
	Type  string          `json:"type" flow:"required"`
	Value json.RawMessage `json:"value"` // of Static; nil: null
	Expr  string          `json:"expr"`  // of JavaScript
}

// Inputs are the arguments of a step by name.
type Inputs map[string]*Input

// Expression is an Input with an expression.
func Expression(expr string) *Input { return &Input{Type: JavaScript, Expr: expr} }

// Constant is an Input with a value written in the flow, which must be JSON.
func Constant(value json.RawMessage) *Input { return &Input{Type: Static, Value: value} }

func (in *Input) verify(d *decoder) {
	switch in.Type {
	case Static, JavaScript, AI, "": // "" was reported as missing
	default:
		d.problem(in.At("type"), "type", "no such kind of input: "+in.Type, "use static, javascript or ai")
	}
}

// Amount is a number that is either written or computed.
type Amount struct {
	Number *float64
	Input  *Input // when Number is nil
}

func (a *Amount) decode(d *decoder, n *node, field string) {
	switch n.kind {
	case numberNode:
		var f float64
		if err := json.Unmarshal(n.raw, &f); err != nil {
			d.problem(n.pos, field, "not a number that can be used: "+string(n.raw), "")
			return
		}
		a.Number = &f
	case objectNode:
		a.Input = &Input{}
		d.into(a.Input, n, field)
	default:
		d.problem(n.pos, field, "is "+n.kind.String(), `write a number, or {"type": "javascript", "expr": "..."}`)
	}
}

func (a *Amount) encode(e *encoder, n *node) {
	switch {
	case a.Input != nil:
		e.value(a.Input, nil)
	case a.Number != nil:
		e.value(*a.Number, n)
	default:
		e.buf.WriteString("null")
	}
}

func (b *RawScript) verify(d *decoder) {
	if strings.TrimSpace(b.Language) == "" && b.Has("language") {
		d.problem(b.At("language"), "language", "is empty", "")
	}
}
