package runtimes

import "encoding/json"

// Signature is what a source says of its entry point.
type Signature struct {
	HasMain         bool // false: a shared library
	HasPreprocessor bool
	Async           bool
	Doc             string  // docstring or leading comment of main
	Params          []Param // in order of declaration
	Result          *Schema // of what main returns; nil: the source does not say
}

// Param is one parameter of main.
type Param struct {
	Name     string
	Schema   Schema
	Doc      string
	Required bool            // no default and not optional
	Default  json.RawMessage // nil when there is none or it is not a literal
}

// Schema is the part of JSON Schema 2020-12 that signatures produce. Its JSON is what forms and validation read.
type Schema struct {
	Type                 any               `json:"type,omitempty"` // string or []string; absent: anything
	Title                string            `json:"title,omitempty"`
	Description          string            `json:"description,omitempty"`
	Default              json.RawMessage   `json:"default,omitempty"`
	Enum                 []json.RawMessage `json:"enum,omitempty"`
	Format               string            `json:"format,omitempty"` // "date-time", "email", "resource-postgresql", ...
	ContentEncoding      string            `json:"contentEncoding,omitempty"`
	Items                *Schema           `json:"items,omitempty"`
	Properties           map[string]Schema `json:"properties,omitempty"`
	AdditionalProperties *Schema           `json:"additionalProperties,omitempty"`
	Required             []string          `json:"required,omitempty"`
	OneOf                []Schema          `json:"oneOf,omitempty"`
	OriginalType         string            `json:"originalType,omitempty"`
}
