package expr

import (
	"reflect"
	"slices"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
)

// Read is one thing that an expression reads, as far as its text tells.
type Read struct {
	Name string   // "flow_input", "results", "variable", ...
	Path []string // the members that follow: of results the step's id first; of variable and the like the key alone
	// Exact is false when more, or something else, is reached in a way that only running shows: results[x], or the name on
	// its own.
	Exact bool
	Pos   Pos
}

// Unknown is a name that an expression uses and that neither a scope nor the language defines.
type Unknown struct {
	Name string
	Pos  Pos
}

// reads collects what a source reads.
type reads struct {
	all      []Read
	unknown  []Unknown
	declared map[string]bool // names that the source itself declares, anywhere
	at       func(file.Idx) Pos
}

// Reads returns what the expression reads, in the order of its text.
func (p *Program) Reads() []Read { return slices.Clone(p.reads.all) }

// Unknown returns the names in the expression that nothing defines.
func (p *Program) Unknown() []Unknown { return slices.Clone(p.reads.unknown) }

// Steps are the ids of the steps whose results the expression reads; exact is false when there may be more of them.
func (p *Program) Steps() (ids []string, exact bool) {
	exact = true
	for _, r := range p.reads.all {
		switch {
		case r.Name != Results:
		case len(r.Path) == 0:
			exact = false
		case !slices.Contains(ids, r.Path[0]):
			ids = append(ids, r.Path[0])
		}
	}
	return ids, exact
}

func (r *reads) plain(p *plain) {
	if p.ref.Name == "" {
		return
	}
	read := Read{Name: p.ref.Name, Exact: true, Pos: Pos{Line: 1, Column: 1}}
	if p.ref.Key != "" || isFunction(p.ref.Name) {
		read.Path = append(read.Path, p.ref.Key)
	}
	if !isFunction(p.ref.Name) {
		for _, s := range p.path {
			read.Path = append(read.Path, s.name)
		}
	}
	r.all = append(r.all, read)
}

// roots are the names that are read.
func (r *reads) roots() []string {
	var out []string
	for _, read := range r.all {
		if !slices.Contains(out, read.Name) {
			out = append(out, read.Name)
		}
	}
	return out
}

func (r *reads) function(f *ast.FunctionLiteral, at func(file.Idx) Pos) {
	r.at, r.declared = at, map[string]bool{}
	r.declarations(reflect.ValueOf(f.Body))
	r.node(reflect.ValueOf(f.Body))
	r.at = nil
}

// children calls fn for the nodes directly below v, which is a pointer to a node. The syntax has fifty kinds of nodes, of which
// few matter here.
func children(v reflect.Value, fn func(reflect.Value)) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			children(v.Elem(), fn)
		}
	case reflect.Struct:
		t := v.Type()
		for i := range v.NumField() {
			name := t.Field(i).Name
			if !t.Field(i).IsExported() || name == "DeclarationList" || name == "File" { // declarations stand in the body, too
				continue
			}
			visit(v.Field(i), fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), fn)
		}
	}
}

// visit calls fn for v if it is a node, or for the nodes in it.
func visit(v reflect.Value, fn func(reflect.Value)) {
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			visit(v.Elem(), fn)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fn(v)
		}
	case reflect.Slice, reflect.Struct:
		if v.Type().PkgPath() == reflect.TypeFor[ast.Identifier]().PkgPath() || v.Kind() == reflect.Slice {
			children(v, fn)
		}
	}
}

// deeper tells whether there are more than so many nodes in each other below v.
func deeper(v reflect.Value, most int) bool {
	if most < 0 {
		return true
	}
	found := false
	children(v, func(inner reflect.Value) { found = found || deeper(inner, most-1) })
	return found
}

// declarations collects the names that are declared below v. A name that is declared anywhere is not taken for that of a scope
// anywhere: what is declared and read in different places reads too little, which is a ReferenceError, not a wrong value.
func (r *reads) declarations(v reflect.Value) {
	target := func(t ast.BindingTarget) {
		if t != nil {
			r.bindings(reflect.ValueOf(t))
		}
	}
	switch n := v.Interface().(type) {
	case *ast.Binding:
		target(n.Target)
	case *ast.CatchStatement:
		target(n.Parameter)
	case *ast.ForDeclaration:
		target(n.Target)
	case *ast.ParameterList:
		if n.Rest != nil {
			r.bindings(reflect.ValueOf(n.Rest))
		}
	case *ast.FunctionLiteral:
		if n.Name != nil {
			r.declared[n.Name.Name.String()] = true
		}
	case *ast.ClassLiteral:
		if n.Name != nil {
			r.declared[n.Name.Name.String()] = true
		}
	}
	children(v, r.declarations)
}

// bindings collects the names in a pattern.
func (r *reads) bindings(v reflect.Value) {
	switch n := v.Interface().(type) {
	case *ast.Identifier:
		r.declared[n.Name.String()] = true
	case *ast.PropertyShort:
		r.declared[n.Name.Name.String()] = true
	case *ast.PropertyKeyed:
		r.bindings(reflect.ValueOf(n.Value))
	case *ast.AssignExpression:
		r.bindings(reflect.ValueOf(n.Left))
	default:
		children(v, r.bindings)
	}
}

func (r *reads) node(v reflect.Value) {
	switch n := v.Interface().(type) {
	case *ast.Identifier:
		r.name(n, nil, false)
	case *ast.PropertyShort:
		r.name(&n.Name, nil, false)
		if n.Initializer != nil {
			r.node(reflect.ValueOf(n.Initializer))
		}
	case *ast.DotExpression, *ast.BracketExpression, *ast.Optional, *ast.OptionalChain:
		r.chain(n.(ast.Expression), nil)
	case *ast.CallExpression:
		r.call(n)
	case *ast.LabelledStatement:
		r.node(reflect.ValueOf(n.Statement))
	case *ast.BranchStatement:
	case *ast.FunctionLiteral:
		r.node(reflect.ValueOf(n.ParameterList))
		r.node(reflect.ValueOf(n.Body))
	default:
		children(v, r.node)
	}
}

// chain reads e, of which the members in path are used.
func (r *reads) chain(e ast.Expression, path []string) {
	switch n := e.(type) {
	case *ast.Optional:
		r.chain(n.Expression, path)
	case *ast.OptionalChain:
		r.chain(n.Expression, path)
	case *ast.DotExpression:
		r.chain(n.Left, append([]string{n.Identifier.Name.String()}, path...))
	case *ast.BracketExpression:
		switch key := n.Member.(type) {
		case *ast.StringLiteral:
			r.chain(n.Left, append([]string{key.Value.String()}, path...))
		case *ast.NumberLiteral:
			r.chain(n.Left, append([]string{key.Literal}, path...))
		default:
			r.node(reflect.ValueOf(n.Member))
			r.chain(n.Left, nil)
		}
	case *ast.Identifier:
		r.name(n, path, true)
	default:
		r.node(reflect.ValueOf(e))
	}
}

// call reads a call: the name of a method is not a member that is read, and the key of variable("key") is one.
func (r *reads) call(n *ast.CallExpression) {
	callee := n.Callee
	if o, ok := callee.(*ast.Optional); ok {
		callee = o.Expression
	}
	switch c := callee.(type) {
	case *ast.DotExpression:
		r.chain(c.Left, nil)
	case *ast.Identifier:
		if isFunction(c.Name.String()) && len(n.ArgumentList) == 1 {
			if key, ok := n.ArgumentList[0].(*ast.StringLiteral); ok {
				r.name(c, []string{key.Value.String()}, true)
				return
			}
		}
		r.name(c, nil, false)
	default:
		r.node(reflect.ValueOf(n.Callee))
	}
	for _, argument := range n.ArgumentList {
		r.node(reflect.ValueOf(argument))
	}
}

func (r *reads) name(id *ast.Identifier, path []string, exact bool) {
	name := id.Name.String()
	switch {
	case r.declared[name]:
	case isName(name) || isFunction(name):
		r.all = append(r.all, Read{Name: name, Path: path, Exact: exact && len(path) > 0, Pos: r.at(id.Idx)})
	case !slices.Contains(globals, name):
		r.unknown = append(r.unknown, Unknown{Name: name, Pos: r.at(id.Idx)})
	}
}

// globals are the names that the language defines.
var globals = strings.Fields(`undefined NaN Infinity globalThis arguments eval isNaN isFinite parseInt parseFloat encodeURI
	encodeURIComponent decodeURI decodeURIComponent escape unescape Object Function Array String Number Boolean Symbol BigInt Date
	RegExp Math JSON Map Set WeakMap WeakSet WeakRef Promise Proxy Reflect Error AggregateError EvalError RangeError
	ReferenceError SyntaxError TypeError URIError ArrayBuffer DataView Int8Array Uint8Array Uint8ClampedArray Int16Array
	Uint16Array Int32Array Uint32Array Float32Array Float64Array BigInt64Array BigUint64Array`)
