package expr

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"
	"github.com/dop251/goja/unistring"
)

// maxSource is how long an expression may be. Its parser recurses, so length bounds depth.
const maxSource = 64 << 10

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	source string
	plain  *plain // nil: an engine runs it
	reads  reads
	tame   bool

	code   *goja.Program // a function of the names in params
	params []string
	before int // characters before the source on its first line
	end    Pos // after the last character of the source
	async  bool
}

// unit is the name of the source in stacks.
const unit = "expression"

// Ways to read a source, in the order in which they are tried.
var wrappers = []struct{ before, after string }{
	{"return (", "\n)"}, // an expression
	{"", "\n"},          // statements
}

var awaits = regexp.MustCompile(`\bawait\b`)

// Compile reads an expression. The error is an *Error with the place. Syntax is checked also where no engine will be asked.
func Compile(source string) (*Program, error) {
	p := &Program{source: source, plain: parsePlain(source)}
	if p.plain != nil {
		p.tame = true
		p.reads.plain(p.plain)
		return p, nil
	}
	return compileForEngine(source)
}

// compileForEngine compiles also what is plain: a plain path into a string, say, is the engine's to answer.
func compileForEngine(source string) (*Program, error) {
	p := &Program{source: source}
	if len(source) > maxSource {
		return nil, &Error{Reason: Syntax, Expr: source, Msg: fmt.Sprintf("has more than %d KB", maxSource>>10)}
	}
	text := strings.TrimRight(source, "; \t\r\n")
	if strings.TrimSpace(text) == "" {
		return nil, &Error{Reason: Syntax, Expr: source, Msg: "is empty"}
	}
	if msg := tooMuch(text); msg != "" {
		return nil, &Error{Reason: Syntax, Expr: source, Msg: msg}
	}
	p.async = awaits.MatchString(text)
	last := text[strings.LastIndexByte(text, '\n')+1:]
	p.end = Pos{Line: strings.Count(text, "\n") + 1, Column: utf8.RuneCountInString(last) + 1}
	var failure error
	for i, w := range wrappers {
		tree, body, err := p.parse(w.before, text, w.after)
		if err != nil {
			if failure == nil || i > 0 && strings.ContainsAny(text, ";\n") { // of statements say what is wrong with statements
				failure = err
			}
			continue
		}
		return p, p.compile(tree, body)
	}
	return nil, failure
}

// head opens the function that a source becomes.
func (p *Program) head() string {
	if p.async {
		return "(async function(){"
	}
	return "(function(){"
}

// options of the parser: without the first, a comment could make it read a file.
var options = []parser.Option{parser.WithDisableSourceMaps}

// parse returns the tree and the function in it that the source became.
func (p *Program) parse(before, text, after string) (*ast.Program, *ast.FunctionLiteral, error) {
	p.before = len(p.head()) + len(before)
	tree, err := parser.ParseFile(nil, unit, p.head()+before+text+after+"})", 0, options...)
	if err != nil {
		return nil, nil, p.syntax(err)
	}
	if len(tree.Body) == 1 { // otherwise the source closed the function that is around it
		if s, ok := tree.Body[0].(*ast.ExpressionStatement); ok {
			if f, ok := s.Expression.(*ast.FunctionLiteral); ok && plausible(f, before != "") {
				return tree, f, nil
			}
		}
	}
	return nil, nil, &Error{Reason: Syntax, Expr: p.source, Msg: "has a bracket too many"}
}

// plausible tells whether an expression is still the argument of the return that was put before it.
func plausible(f *ast.FunctionLiteral, expression bool) bool {
	if !expression {
		return true
	}
	if len(f.Body.List) != 1 {
		return false
	}
	_, ok := f.Body.List[0].(*ast.ReturnStatement)
	return ok
}

// compile finds out what the source reads and makes the program: the names become parameters, so that a program can run on an
// engine that others use too, and the value of a last statement is returned.
func (p *Program) compile(tree *ast.Program, f *ast.FunctionLiteral) error {
	if deeper(reflect.ValueOf(f.Body), maxTree) { // an engine's compiler asks each node where it begins, which asks all below it
		return &Error{Reason: Syntax, Expr: p.source, Msg: fmt.Sprintf("has more than %d operations in each other", maxTree)}
	}
	p.reads.function(f, func(i file.Idx) Pos { return p.pos(tree.File.Position(int(i) - tree.File.Base())) })
	p.params = p.reads.roots()
	p.tame = isTame(f, p.async)
	for _, name := range p.params {
		target := &ast.Identifier{Name: unistring.NewFromString(name), Idx: f.Function}
		f.ParameterList.List = append(f.ParameterList.List, &ast.Binding{Target: target})
	}
	if n := len(f.Body.List); n > 0 {
		if last, ok := f.Body.List[n-1].(*ast.ExpressionStatement); ok {
			f.Body.List[n-1] = &ast.ReturnStatement{Return: last.Expression.Idx0(), Argument: last.Expression}
		}
	}
	var err error
	if p.code, err = goja.CompileAST(tree, false); err != nil {
		return p.syntax(err)
	}
	return nil
}

func (p *Program) pos(at file.Position) Pos {
	pos := Pos{Line: at.Line, Column: at.Column}
	if pos.Line == 1 {
		pos.Column -= p.before
	}
	pos.Column = max(pos.Column, 1)
	if pos.Line > p.end.Line { // in what was put around it
		return p.end
	}
	return pos
}

func (p *Program) syntax(err error) error {
	e := &Error{Reason: Syntax, Expr: p.source, Msg: err.Error()}
	var list parser.ErrorList
	var one *parser.Error
	var compiler *goja.CompilerSyntaxError
	switch {
	case errors.As(err, &list) && len(list) > 0:
		e.Pos, e.Msg = p.pos(list[0].Position), list[0].Message
	case errors.As(err, &one):
		e.Pos, e.Msg = p.pos(one.Position), one.Message
	case errors.As(err, &compiler) && compiler.File != nil:
		e.Pos, e.Msg = p.pos(compiler.File.Position(compiler.Offset)), compiler.Message
	}
	return e
}

// What a source may hold of things for which the parser's work grows with their square, or worse: it reports each label that
// stands before another one of the same name, for instance.
var maxParts = map[string]int{":": 800, "=>": 800}

// tooMuch says why a source is not given to the parser; "" when it is.
func tooMuch(text string) string {
	if nesting(text) > maxNesting {
		return fmt.Sprintf("nests more than %d deep", maxNesting)
	}
	for part, most := range maxParts {
		if strings.Count(text, part) > most {
			return fmt.Sprintf("has more than %d times %q: large values belong into static inputs", most, part)
		}
	}
	return ""
}

// maxTree is how many operations, calls and members may hang in each other: a + b + ... + z is one such chain.
const maxTree = 1000

// maxNesting is how deep brackets may nest: far more than anybody writes, far less than a parser's stack bears.
const maxNesting = 500

// nesting counts brackets without looking at what they are in, which is never too few.
func nesting(s string) int {
	depth, most := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			depth++
			most = max(most, depth)
		case ')', ']', '}':
			depth--
		}
	}
	return most
}

// Source is the text that was compiled.
func (p *Program) Source() string { return p.source }

// Plain tells whether the expression is a path or literal, which is answered without an engine.
func (p *Program) Plain() bool { return p.plain != nil }

// Tame tells whether the expression may run in the process of its caller.
func (p *Program) Tame() bool { return p.tame }
