package golang

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"strconv"
	"strings"

	"github.com/millrace/millrace/runtimes"
)

// script is a parsed source.
type script struct {
	source string
	fset   *token.FileSet
	file   *ast.File
	types  map[string]*ast.TypeSpec
	enums  map[string][]string // constants of named string types, as written
	open   map[string]bool     // named types that schema is inside of
	nodes  int                 // schemas made so far
}

func parse(source string) (*script, error) {
	s := &script{source: source, fset: token.NewFileSet(), types: map[string]*ast.TypeSpec{}, enums: map[string][]string{}, open: map[string]bool{}}
	var err error
	s.file, err = parser.ParseFile(s.fset, "main.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, syntaxError(err)
	}
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				s.types[spec.Name.Name] = spec
			case *ast.ValueSpec:
				s.constants(g.Tok, spec)
			}
		}
	}
	return s, nil
}

// constants notes `Red Color = "red"`.
func (s *script) constants(tok token.Token, v *ast.ValueSpec) {
	t, ok := v.Type.(*ast.Ident)
	if tok != token.CONST || !ok {
		return
	}
	for _, value := range v.Values {
		if lit, ok := value.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				s.enums[t.Name] = append(s.enums[t.Name], text)
			}
		}
	}
}

func syntaxError(err error) error {
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return &runtimes.SourceError{Name: "SyntaxError", Message: list[0].Msg, Line: list[0].Pos.Line}
	}
	return &runtimes.SourceError{Name: "SyntaxError", Message: err.Error()}
}

func (s *script) wrong(at token.Pos, message string) error {
	return &runtimes.SourceError{Name: "SyntaxError", Message: message, Line: s.fset.Position(at).Line}
}

// text is a piece of the source as written.
func (s *script) text(n ast.Node) string {
	return s.source[s.fset.Position(n.Pos()).Offset:s.fset.Position(n.End()).Offset]
}

// function finds a top-level function.
func (s *script) function(name string) *ast.FuncDecl {
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
			return f
		}
	}
	return nil
}

// imports are the import paths in order.
func (s *script) imports() []string {
	var out []string
	for _, i := range s.file.Imports {
		if path, err := strconv.Unquote(i.Path.Value); err == nil {
			out = append(out, path)
		}
	}
	return out
}

// param is one parameter of a function.
type param struct {
	name     string
	typ      ast.Expr
	variadic bool
}

// params lists a function's parameters one by one.
func (s *script) params(f *ast.FuncDecl) ([]param, error) {
	if f.Type.TypeParams != nil {
		return nil, s.wrong(f.Pos(), f.Name.Name+" cannot have type parameters")
	}
	var out []param
	for _, field := range f.Type.Params.List {
		if len(field.Names) == 0 {
			return nil, s.wrong(field.Pos(), "the parameters of "+f.Name.Name+" need names: arguments are given by name")
		}
		for _, n := range field.Names {
			if n.Name == "_" {
				return nil, s.wrong(n.Pos(), "the parameters of "+f.Name.Name+" need names: arguments are given by name")
			}
			p := param{name: n.Name, typ: field.Type}
			if e, ok := field.Type.(*ast.Ellipsis); ok {
				p.typ, p.variadic = e.Elt, true
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func (p param) required() bool {
	_, pointer := p.typ.(*ast.StarExpr)
	return !pointer && !p.variadic
}

// Parse reads the signature of main.
func (Runtime) Parse(source string) (runtimes.Signature, error) {
	var sig runtimes.Signature
	s, err := parse(source)
	if err != nil {
		return sig, err
	}
	sig.HasPreprocessor = s.function("preprocessor") != nil
	f := s.function("main")
	if f == nil {
		return sig, nil
	}
	sig.HasMain = true
	if f.Doc != nil {
		sig.Doc = strings.TrimSpace(f.Doc.Text())
	}
	params, err := s.params(f)
	if err != nil {
		return sig, err
	}
	for _, p := range params {
		schema := s.schema(p.typ, 0)
		if items := schema; p.variadic {
			schema = runtimes.Schema{Type: "array", Items: &items}
		}
		sig.Params = append(sig.Params, runtimes.Param{Name: p.name, Schema: schema, Required: p.required()})
	}
	sig.Result = s.result(f)
	return sig, nil
}

// result is the schema of what f returns beside an error; nil: nothing that a schema could say.
func (s *script) result(f *ast.FuncDecl) *runtimes.Schema {
	if f.Type.Results == nil || len(f.Type.Results.List) == 0 {
		return nil
	}
	typ := f.Type.Results.List[0].Type
	if id, ok := typ.(*ast.Ident); ok && id.Name == "error" {
		return nil
	}
	schema := s.schema(typ, 0)
	if b, err := json.Marshal(schema); err != nil || string(b) == "{}" {
		return nil
	}
	return &schema
}
