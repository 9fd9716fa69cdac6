// Package openapi makes the OpenAPI 3.1 document from the route table: paths, parameters and bodies are what the router
// and the encoders use, so the document cannot say anything else.
package openapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/millrace/millrace/web/api"
)

type object = map[string]any

// pathParams says what the names in paths mean.
var pathParams = map[string]string{
	"workspace": "id of the workspace",
	"path":      "path of the thing, u/user/name or f/folder/name; slashes stay as they are",
	"hash":      "16 hexadecimal digits",
	"id":        "id of the job",
	"prefix":    "the token's first characters, as listed",
	"millis":    "Unix milliseconds",
	"page":      "name of a page",
	"resume_id": "number of the link",
	"signature": "of the link, as job_signature answers it",
	"key":       "under which the value is kept",
}

var inPath = regexp.MustCompile(`\{([a-z_]+)(?::\*)?\}`)

// Document returns the document of routes as JSON.
func Document(routes []api.Route, version string) ([]byte, error) {
	schemas := &schemas{defs: object{}}
	paths := object{}
	for _, r := range routes {
		p := inPath.ReplaceAllString(r.Path, "{$1}")
		item, _ := paths[p].(object)
		if item == nil {
			item = object{}
			paths[p] = item
		}
		method := strings.ToLower(r.Method)
		if item[method] != nil {
			return nil, fmt.Errorf("openapi: %s %s is in the table twice", r.Method, p)
		}
		item[method] = operation(r, schemas)
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{"title": "Millrace", "version": version, "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "Runs scripts, isolated and durably. Paths and shapes are Windmill's where Windmill has them. Errors are one line of text."},
		"servers": []object{{"url": "/"}},
		"paths":   paths,
		"components": object{
			"schemas": schemas.defs,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer"},
				"cookie": object{"type": "apiKey", "in": "cookie", "name": "token"},
				"query":  object{"type": "apiKey", "in": "query", "name": "token"},
			},
		},
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return b, nil
}

func operation(r api.Route, s *schemas) object {
	op := object{"operationId": r.Name, "summary": r.Summary, "tags": []string{r.Group}, "responses": responses(r, s)}
	if params := parameters(r); len(params) > 0 {
		op["parameters"] = params
	}
	if r.Body.Type != "" {
		op["requestBody"] = object{"content": object{r.Body.Type: object{"schema": s.of(r.Body)}}}
	}
	if r.Access == api.Public || r.Access == api.Link {
		op["security"] = []object{}
	} else {
		op["security"] = []object{{"bearer": []string{}}, {"cookie": []string{}}, {"query": []string{}}}
	}
	if r.Access == api.Admin {
		op["description"] = "Only for administrators."
	}
	return op
}

func parameters(r api.Route) []object {
	var out []object
	for _, m := range inPath.FindAllStringSubmatch(r.Path, -1) {
		out = append(out, object{"name": m[1], "in": "path", "required": true, "description": pathParams[m[1]], "schema": object{"type": "string"}})
	}
	for _, p := range r.Params {
		in := "query"
		if p.Header {
			in = "header"
		}
		o := object{"name": p.Name, "in": in, "schema": object{"type": p.Type}}
		if p.Doc != "" {
			o["description"] = p.Doc
		}
		out = append(out, o)
	}
	return out
}

func responses(r api.Route, s *schemas) object {
	status := r.Status
	if status == 0 {
		status = 200
	}
	doc := r.Answer.Doc
	if doc == "" {
		doc = "success"
	}
	ok := object{"description": doc}
	if r.Answer.Type != "" {
		ok["content"] = object{r.Answer.Type: object{"schema": s.of(r.Answer)}}
	}
	failed := object{"description": "what was wrong, in one line",
		"content": object{"text/plain; charset=utf-8": object{"schema": object{"type": "string"}}}}
	return object{strconv.Itoa(status): ok, "default": failed}
}
