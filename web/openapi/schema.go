package openapi

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/api"
)

// schemas collects the schemas of named structs.
type schemas struct {
	defs object
}

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	timeType = reflect.TypeFor[time.Time]()
	uuidType = reflect.TypeFor[uuid.UUID]()
)

func (s *schemas) of(shape api.Shape) object {
	switch {
	case shape.Value != nil:
		return s.schema(reflect.TypeOf(shape.Value))
	case strings.Contains(shape.Type, "json"):
		return object{}
	}
	return object{"type": "string"}
}

// schema follows encoding/json's rules for the kinds that the API uses.
func (s *schemas) schema(t reflect.Type) object {
	switch t {
	case rawType:
		return object{}
	case timeType:
		return object{"type": "string", "format": "date-time"}
	case uuidType:
		return object{"type": "string", "format": "uuid"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": s.schema(t.Elem())}
	case reflect.Struct:
		return s.structure(t)
	default:
		return object{}
	}
}

func (s *schemas) structure(t reflect.Type) object {
	if t.Name() == "" {
		return object{"type": "object"}
	}
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if s.defs[t.Name()] != nil {
		return ref
	}
	properties, required := object{}, []string{}
	s.defs[t.Name()] = object{} // a type that holds itself stops here
	// The fields of embedded structs are visible too.
	for _, f := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		p := s.schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		optional := strings.Contains(opts, "omitempty")
		if f.Type.Kind() == reflect.Pointer && !optional {
			if typ, ok := p["type"].(string); ok {
				p["type"] = []string{typ, "null"}
			}
		}
		if !optional {
			required = append(required, name)
		}
		properties[name] = p
	}
	def := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		def["required"] = required
	}
	s.defs[t.Name()] = def
	return ref
}
