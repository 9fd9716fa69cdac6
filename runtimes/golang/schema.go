package golang

import (
	"encoding/json"
	"go/ast"
	"reflect"
	"strconv"
	"strings"

	"github.com/millrace/millrace/runtimes"
)

// What a schema may have at most. Types that are used often, each by many, would multiply without end.
const (
	maxDepth = 32
	maxNodes = 2000
)

// schema describes what encoding/json accepts for a type.
func (s *script) schema(t ast.Expr, depth int) runtimes.Schema {
	if s.nodes++; depth > maxDepth || s.nodes > maxNodes {
		return runtimes.Schema{}
	}
	switch t := t.(type) {
	case *ast.ParenExpr:
		return s.schema(t.X, depth)
	case *ast.StarExpr:
		return s.schema(t.X, depth+1)
	case *ast.ArrayType:
		if e, ok := t.Elt.(*ast.Ident); ok && t.Len == nil && (e.Name == "byte" || e.Name == "uint8") {
			return runtimes.Schema{Type: "string", ContentEncoding: "base64"}
		}
		items := s.schema(t.Elt, depth+1)
		return runtimes.Schema{Type: "array", Items: &items}
	case *ast.MapType:
		values := s.schema(t.Value, depth+1)
		if reflect.ValueOf(values).IsZero() {
			return runtimes.Schema{Type: "object"}
		}
		return runtimes.Schema{Type: "object", AdditionalProperties: &values}
	case *ast.StructType:
		return s.structure(t, depth)
	case *ast.SelectorExpr:
		switch s.text(t) {
		case "time.Time":
			return runtimes.Schema{Type: "string", Format: "date-time"}
		case "json.RawMessage":
			return runtimes.Schema{}
		case "json.Number":
			return runtimes.Schema{Type: "number"}
		}
		return runtimes.Schema{OriginalType: s.text(t)}
	case *ast.Ident:
		return s.named(t.Name, depth)
	}
	return runtimes.Schema{}
}

func (s *script) named(name string, depth int) runtimes.Schema {
	if spec := s.types[name]; spec != nil {
		if s.open[name] { // a type within itself
			if _, ok := spec.Type.(*ast.StructType); ok {
				return runtimes.Schema{Type: "object"}
			}
			return runtimes.Schema{}
		}
		s.open[name] = true
		defer delete(s.open, name)
		out := s.schema(spec.Type, depth+1)
		if out.Type == "string" {
			for _, v := range s.enums[name] {
				b, err := json.Marshal(v)
				if err == nil {
					out.Enum = append(out.Enum, b)
				}
			}
		}
		return out
	}
	switch name {
	case "string":
		return runtimes.Schema{Type: "string"}
	case "bool":
		return runtimes.Schema{Type: "boolean"}
	case "float32", "float64":
		return runtimes.Schema{Type: "number"}
	case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "byte", "rune":
		return runtimes.Schema{Type: "integer"}
	case "any":
		return runtimes.Schema{}
	}
	return runtimes.Schema{OriginalType: name}
}

func (s *script) structure(t *ast.StructType, depth int) runtimes.Schema {
	out := runtimes.Schema{Type: "object", Properties: map[string]runtimes.Schema{}}
	for _, f := range t.Fields.List {
		tag := ""
		if f.Tag != nil {
			if text, err := strconv.Unquote(f.Tag.Value); err == nil {
				tag = reflect.StructTag(text).Get("json")
			}
		}
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		if len(f.Names) == 0 && name == "" {
			s.embedded(f.Type, depth, &out)
			continue
		}
		_, pointer := f.Type.(*ast.StarExpr)
		optional := pointer || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		for _, n := range fieldNames(f) {
			if !ast.IsExported(n) {
				continue
			}
			if name != "" {
				n = name
			}
			field := s.schema(f.Type, depth+1)
			field.Description = comment(f)
			out.Properties[n] = field
			if !optional {
				out.Required = append(out.Required, n)
			}
		}
	}
	return out
}

func fieldNames(f *ast.Field) []string {
	var out []string
	for _, n := range f.Names {
		out = append(out, n.Name)
	}
	if len(f.Names) == 0 { // embedded under a name of its own
		out = append(out, baseName(f.Type))
	}
	return out
}

func baseName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return baseName(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// embedded adds the fields of an embedded struct of this source, as encoding/json does.
func (s *script) embedded(t ast.Expr, depth int, out *runtimes.Schema) {
	inner := s.schema(t, depth+1)
	for name, field := range inner.Properties {
		if _, taken := out.Properties[name]; !taken {
			out.Properties[name] = field
		}
	}
	out.Required = append(out.Required, inner.Required...)
}

func comment(f *ast.Field) string {
	if f.Doc != nil {
		return strings.TrimSpace(f.Doc.Text())
	}
	if f.Comment != nil {
		return strings.TrimSpace(f.Comment.Text())
	}
	return ""
}
