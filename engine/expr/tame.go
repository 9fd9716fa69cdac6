package expr

import (
	"slices"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
)

// An expression is tame when the work of running it is bounded by its text and its input, however it is written, and when it
// leaves the engine that ran it as it was. What is not known to be so is not tame.
//
// There are no variables in tame expressions, so a value cannot be used to double itself again and again; methods are named in
// the text and are on a list of those that neither loop over made-up lengths nor change anything; the few that make more
// out of less may occur twice.

// harmless methods read their object and give something that is not larger.
var harmless = strings.Fields(`at charAt charCodeAt codePointAt concat endsWith includes indexOf lastIndexOf slice split startsWith
	substring toLowerCase toUpperCase trim trimEnd trimStart toFixed toPrecision toString getDate getDay getFullYear getHours
	getMilliseconds getMinutes getMonth getSeconds getTime getTimezoneOffset getUTCDate getUTCDay getUTCFullYear getUTCHours
	getUTCMilliseconds getUTCMinutes getUTCMonth getUTCSeconds toISOString toJSON hasOwnProperty`)

// growing methods may give more than they read.
var growing = []string{"join"}

// Inside of a callback, which runs once for each item, nothing may be made that is as large as the whole input: lookups are
// allowed on anything, shaping only on the item itself.
var (
	lookups = strings.Fields(`includes indexOf startsWith endsWith hasOwnProperty`)
	shaping = strings.Fields(`at charAt slice toLowerCase toUpperCase trim toFixed toString`)
)

// notInCallbacks are functions and objects whose results may be as large as their arguments.
var notInCallbacks = []string{"String", "Object", "JSON"}

// callbacks are methods that call a function for each item.
var callbacks = []string{"map", "filter", "some", "every", "find", "findIndex"}

// pure functions of the language.
var pureFunctions = []string{"String", "Number", "Boolean", "parseInt", "parseFloat", "isNaN", "isFinite"}

// pure methods of its objects; nil: all of them.
var pureMethods = map[string][]string{"Math": nil, "Object": {"keys", "values", "entries"}, "Array": {"isArray"},
	"Date": {"now", "parse", "UTC"}, "Number": {"isInteger", "isFinite", "isNaN"}, "JSON": {"stringify", "parse"}}

// Limits of what a tame expression may hold of things that make more out of less.
const (
	tameGrowing   = 2
	tameCallbacks = 2
	tameMentions  = 6 // of the parameters of its callbacks
)

type tamer struct {
	growing, callbacks, mentions int
	params                       []string // of the callback that is being looked at
	mapping                      bool     // its result is part of the result
}

// isTame judges the function that a source became.
func isTame(f *ast.FunctionLiteral, async bool) bool {
	if async || len(f.Body.List) != 1 {
		return false
	}
	var e ast.Expression
	switch s := f.Body.List[0].(type) {
	case *ast.ReturnStatement:
		e = s.Argument
	case *ast.ExpressionStatement:
		e = s.Expression
	}
	t := &tamer{}
	return e != nil && t.tame(e) && t.growing <= tameGrowing && t.callbacks <= tameCallbacks && t.mentions <= tameMentions
}

func (t *tamer) all(list []ast.Expression) bool {
	for _, e := range list {
		if e != nil && !t.tame(e) {
			return false
		}
	}
	return true
}

func (t *tamer) tame(e ast.Expression) bool {
	switch n := e.(type) {
	case *ast.Identifier:
		if name := n.Name.String(); slices.Contains(t.params, name) {
			t.mentions++
			return true
		} else {
			return isName(name) && !t.mapping || name == "undefined" || name == "NaN" || name == "Infinity"
		}
	case *ast.NumberLiteral:
		return !strings.HasSuffix(n.Literal, "n") // a BigInt grows without bound
	case *ast.StringLiteral, *ast.BooleanLiteral, *ast.NullLiteral:
		return true
	case *ast.DotExpression:
		return n.Identifier.Name != "__proto__" && t.tame(n.Left)
	case *ast.BracketExpression:
		return t.tame(n.Left) && t.tame(n.Member)
	case *ast.Optional:
		return t.tame(n.Expression)
	case *ast.OptionalChain:
		return t.tame(n.Expression)
	case *ast.ConditionalExpression:
		return t.tame(n.Test) && t.tame(n.Consequent) && t.tame(n.Alternate)
	case *ast.UnaryExpression:
		return n.Operator != token.DELETE && n.Operator != token.INCREMENT && n.Operator != token.DECREMENT && t.tame(n.Operand)
	case *ast.BinaryExpression:
		// In a callback + may make a long string for each of many items.
		return (n.Operator != token.PLUS || t.params == nil) && t.tame(n.Left) && t.tame(n.Right)
	case *ast.TemplateLiteral:
		return n.Tag == nil && t.params == nil && t.all(n.Expressions)
	case *ast.ArrayLiteral:
		return t.all(n.Value)
	case *ast.SpreadElement:
		return t.spread(n.Expression)
	case *ast.ObjectLiteral:
		return t.object(n)
	case *ast.NewExpression:
		callee, ok := n.Callee.(*ast.Identifier)
		return ok && callee.Name == "Date" && t.all(n.ArgumentList)
	case *ast.CallExpression:
		return t.call(n)
	}
	return false
}

func (t *tamer) object(n *ast.ObjectLiteral) bool {
	for _, p := range n.Value {
		switch p := p.(type) {
		case *ast.PropertyShort:
			if p.Initializer != nil || !t.tame(&p.Name) {
				return false
			}
		case *ast.PropertyKeyed:
			key, ok := p.Key.(*ast.StringLiteral)
			if !ok || p.Computed || callable(key.Value.String()) || p.Kind != ast.PropertyKindValue || !t.tame(p.Value) {
				return false
			}
		case *ast.SpreadElement:
			if !t.spread(p.Expression) {
				return false
			}
		}
	}
	return true
}

// spread judges ...e: in a callback only parts of the item may be copied.
func (t *tamer) spread(e ast.Expression) bool { return t.tame(e) && (t.params == nil || t.ofItem(e)) }

// ofItem tells whether e is a path that begins at the item of the callback.
func (t *tamer) ofItem(e ast.Expression) bool {
	switch n := e.(type) {
	case *ast.DotExpression:
		return t.ofItem(n.Left)
	case *ast.BracketExpression:
		return t.ofItem(n.Left)
	case *ast.Optional:
		return t.ofItem(n.Expression)
	case *ast.OptionalChain:
		return t.ofItem(n.Expression)
	case *ast.CallExpression:
		return t.ofItem(n.Callee)
	case *ast.Identifier:
		return slices.Contains(t.params, n.Name.String())
	}
	return false
}

// callable are the names of methods that tame expressions call. An object of the expression's own may not have them: it could
// lend itself a method of a list, and a length that no list has.
func callable(name string) bool {
	return name == "__proto__" || name == "valueOf" || slices.Contains(harmless, name) || slices.Contains(growing, name) ||
		slices.Contains(callbacks, name)
}

func (t *tamer) call(n *ast.CallExpression) bool {
	callee := n.Callee
	if o, ok := callee.(*ast.Optional); ok {
		callee = o.Expression
	}
	switch c := callee.(type) {
	case *ast.Identifier:
		name := c.Name.String()
		if t.params != nil && (isFunction(name) || slices.Contains(notInCallbacks, name)) {
			return false
		}
		return (isFunction(name) || slices.Contains(pureFunctions, name)) && t.all(n.ArgumentList)
	case *ast.DotExpression:
		return t.method(c, n.ArgumentList)
	}
	return false
}

func (t *tamer) method(c *ast.DotExpression, arguments []ast.Expression) bool {
	name := c.Identifier.Name.String()
	left := c.Left
	if o, ok := left.(*ast.Optional); ok {
		left = o.Expression
	}
	if object, ok := left.(*ast.Identifier); ok {
		if allowed, ok := pureMethods[object.Name.String()]; ok {
			if t.params != nil && slices.Contains(notInCallbacks, object.Name.String()) {
				return false
			}
			if object.Name == "JSON" { // each time around quotes its quotes again; a second argument may be a function
				if t.growing++; len(arguments) > 1 && !isNull(arguments[1]) {
					return false
				}
			}
			return (allowed == nil || slices.Contains(allowed, name)) && t.all(arguments)
		}
	}
	switch {
	case slices.Contains(callbacks, name):
		t.callbacks++
		return t.callback(name, left, arguments)
	case t.params != nil:
		return (slices.Contains(lookups, name) || slices.Contains(shaping, name) && t.ofItem(left)) && t.tame(left) && t.all(arguments)
	case slices.Contains(growing, name):
		t.growing++
	case !slices.Contains(harmless, name):
		return false
	}
	return t.tame(left) && t.all(arguments)
}

func isNull(e ast.Expression) bool {
	_, ok := e.(*ast.NullLiteral)
	return ok
}

// callback judges list.map(x => ...): one arrow function of plain parameters, not inside of another.
func (t *tamer) callback(method string, left ast.Expression, arguments []ast.Expression) bool {
	if t.params != nil || len(arguments) != 1 || !t.tame(left) {
		return false
	}
	if id, ok := arguments[0].(*ast.Identifier); ok { // filter(Boolean)
		return id.Name == "Boolean" || id.Name == "Number" || id.Name == "String"
	}
	f, ok := arguments[0].(*ast.ArrowFunctionLiteral)
	if !ok || f.Async || f.ParameterList.Rest != nil || len(f.ParameterList.List) == 0 {
		return false
	}
	body, ok := f.Body.(*ast.ExpressionBody)
	if !ok {
		return false
	}
	for _, b := range f.ParameterList.List {
		id, ok := b.Target.(*ast.Identifier)
		if !ok || b.Initializer != nil || isName(id.Name.String()) || isFunction(id.Name.String()) {
			return false
		}
		t.params = append(t.params, id.Name.String())
	}
	t.mapping = method == "map"
	ok = t.tame(body.Expression)
	t.params, t.mapping = nil, false
	return ok
}
