// Package signature turns what a source says of its main function into the JSON Schema that forms show, and checks arguments
// against a stored schema.
//
// Schemas come from signatures, but also from people and from imported workspaces: checking is lenient where the schema says
// less than it means, and a schema that makes no sense checks nothing.
package signature

import (
	"bytes"
	"encoding/json"

	"github.com/millrace/millrace/runtimes"
)

// Draft is the $schema of the documents that Schema makes.
const Draft = "https://json-schema.org/draft/2020-12/schema"

// Schema is the JSON Schema document of s. Its "order" names the parameters as declared, and so are its properties written.
func Schema(s runtimes.Signature) json.RawMessage {
	var b bytes.Buffer
	b.WriteString(`{"$schema":"` + Draft + `","type":"object","properties":{`)
	required, order := []string{}, []string{}
	for i, p := range s.Params {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(encode(p.Name))
		b.WriteByte(':')
		b.Write(encode(property(p)))
		order = append(order, p.Name)
		if p.Required {
			required = append(required, p.Name)
		}
	}
	b.WriteString(`},"required":`)
	b.Write(encode(required))
	b.WriteString(`,"order":`)
	b.Write(encode(order))
	b.WriteByte('}')
	return b.Bytes()
}

// Result is the JSON Schema of what s returns; nil: the source does not say.
func Result(s runtimes.Signature) json.RawMessage {
	if s.Result == nil {
		return nil
	}
	return encode(*s.Result)
}

func property(p runtimes.Param) runtimes.Schema {
	s := p.Schema
	if s.Description == "" {
		s.Description = p.Doc
	}
	if s.Default == nil {
		s.Default = p.Default
	}
	return s
}

// encode is json.Marshal without the escapes that are for HTML. A default that is no JSON, which only a faulty parser can
// make, costs the parameter its schema and nothing else.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("{}")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
