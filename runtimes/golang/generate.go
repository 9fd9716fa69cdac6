package golang

import (
	"fmt"
	"go/ast"
	"strconv"
	"strings"

	"github.com/millrace/millrace/runtimes"
)

// compiled is the script as the compiler sees it: its package clause replaced, and a function MillraceRun added below. All
// lines keep their numbers, and what the parameters' types need is imported already.
func compiled(source, entry string) (string, error) {
	if entry == "" {
		entry = "main"
	}
	s, err := parse(source)
	if err != nil {
		return "", err
	}
	for _, i := range s.file.Imports {
		if i.Path.Value == `"C"` {
			return "", s.wrong(i.Pos(), "cgo is not available to scripts")
		}
	}
	f := s.function(entry)
	if f == nil {
		return "", &runtimes.SourceError{Name: "NoMain", Message: fmt.Sprintf("the source has no function %s", entry)}
	}
	params, err := s.params(f)
	if err != nil {
		return "", err
	}
	call, err := s.call(f, params)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	start, end := s.fset.Position(s.file.Package).Offset, s.fset.Position(s.file.Name.End()).Offset
	b.WriteString(source[:start])
	b.WriteString(`package inner; import millracejob "millrace.job/job"`)
	b.WriteString(source[end:])
	b.WriteString("\n\nfunc MillraceRun() {\n\tmillracejob.Run(func(millraceArgs millracejob.Args) (interface{}, error) {\n")
	for i, p := range params {
		slice := ""
		if p.variadic {
			slice = "[]"
		}
		fmt.Fprintf(&b, "\t\tvar millrace%d %s%s\n", i, slice, s.text(p.typ))
		fmt.Fprintf(&b, "\t\tif err := millracejob.Arg(millraceArgs, %s, %v, &millrace%d); err != nil {\n\t\t\treturn nil, err\n\t\t}\n",
			strconv.Quote(p.name), p.required(), i)
	}
	b.WriteString(call)
	b.WriteString("\t})\n}\n")
	return b.String(), nil
}

// call calls f and returns what it returns as (result, error).
func (s *script) call(f *ast.FuncDecl, params []param) (string, error) {
	args := make([]string, len(params))
	for i, p := range params {
		args[i] = fmt.Sprintf("millrace%d", i)
		if p.variadic {
			args[i] += "..."
		}
	}
	call := f.Name.Name + "(" + strings.Join(args, ", ") + ")"
	var results []ast.Expr
	if f.Type.Results != nil {
		for _, r := range f.Type.Results.List {
			for range max(1, len(r.Names)) {
				results = append(results, r.Type)
			}
		}
	}
	isError := func(i int) bool {
		id, ok := results[i].(*ast.Ident)
		return ok && id.Name == "error"
	}
	switch n := len(results); {
	case n == 0:
		return "\t\t" + call + "\n\t\treturn nil, nil\n", nil
	case n == 1 && isError(0):
		return "\t\treturn nil, " + call + "\n", nil
	case n == 1:
		return "\t\treturn " + s.stream(results[0], call) + ", nil\n", nil
	case n == 2 && isError(1):
		return "\t\tresult, err := " + call + "\n\t\tif err != nil {\n\t\t\treturn nil, err\n\t\t}\n" +
			"\t\treturn " + s.stream(results[0], "result") + ", nil\n", nil
	}
	return "", s.wrong(f.Type.Results.Pos(), f.Name.Name+" must return nothing, a result, an error, or a result and an error")
}

// stream wraps a result that is a sequence of strings.
func (s *script) stream(t ast.Expr, value string) string {
	switch strings.Join(strings.Fields(s.text(t)), " ") {
	case "iter.Seq[string]", "func(func(string) bool)", "func(yield func(string) bool)":
		return "millracejob.Stream(" + value + ")"
	case "<-chan string", "chan string":
		return "millracejob.StreamChan(" + value + ")"
	}
	return value
}
