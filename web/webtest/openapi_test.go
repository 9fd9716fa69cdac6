package webtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is the part of OpenAPI that our routes use.
type document struct {
	OpenAPI string `json:"openapi"`
	Info    struct{ Title, Version string }
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string
		Tags        []string
		Parameters  []struct {
			Name, In string
			Required bool
			Schema   struct{ Type string }
		}
		Responses map[string]struct {
			Description string
			Content     map[string]struct{ Schema json.RawMessage }
		}
	}
	Components struct{ Schemas map[string]any }
}

func readDocument(t *testing.T, d *Daemon) (doc document, raw any) {
	t.Helper()
	resp, err := d.HTTP.Get(d.URL + "/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	return doc, raw
}

func TestDocumentHoldsEveryRoute(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	doc, _ := readDocument(t, d)
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" {
		t.Errorf("head %+v", doc.Info)
	}
	ids := map[string]bool{}
	count := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			count++
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 {
				t.Errorf("%s %s: operation %+v", method, path, op)
			}
			ids[op.OperationID] = true
			declared := map[string]bool{}
			for _, p := range op.Parameters {
				if declared[p.In+p.Name] || p.Schema.Type == "" || (p.In == "path") != p.Required {
					t.Errorf("%s %s: parameter %+v", method, path, p)
				}
				declared[p.In+p.Name] = true
			}
			for _, m := range regexp.MustCompile(`\{([^}]+)\}`).FindAllStringSubmatch(path, -1) {
				if !declared["path"+m[1]] {
					t.Errorf("%s %s does not declare %s", method, path, m[1])
				}
			}
			if len(op.Responses) != 2 || op.Responses["default"].Description == "" {
				t.Errorf("%s %s: responses %+v", method, path, op.Responses)
			}
		}
	}
	routes := d.Server.Routes()
	if count != len(routes) {
		t.Errorf("%d operations, %d routes", count, len(routes))
	}
	for _, r := range routes {
		if item := doc.Paths[strings.ReplaceAll(r.Path, ":*}", "}")]; item[strings.ToLower(r.Method)].OperationID != r.Name {
			t.Errorf("%s %s is not in the document", r.Method, r.Path)
		}
	}
}

// TestAnswersMatchTheDocument asks every GET that needs no particular thing, and some that do, and holds the answers
// against their schemas.
func TestAnswersMatchTheDocument(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	doc, raw := readDocument(t, d)
	id := start(t, e, d).String()
	batch := receive(t, d, "run/batch/p/f/demo/hello", "{}\n").String()
	fill := strings.NewReplacer("{workspace}", "main", "{id}", id, "{resume_id}", "7", "{signature}", Signature, "{key}", "k", "{batch}", batch, "{path}", "f/demo/hello", "{hash}", "0000000000001000", "{version}", "1", "{millis}", "1", "{page}", "api", "{name}", "c_demo", "{username}", "ann")
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("http://doc/", raw); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for path, item := range doc.Paths {
		op, ok := item["get"]
		if !ok || strings.Contains(path, "_sse") {
			continue
		}
		t.Run(op.OperationID, func(t *testing.T) {
			status, kind, body := fetch(t, d, fill.Replace(path))
			answer, ok := op.Responses["200"]
			if !ok || status != 200 {
				t.Fatalf("status %d, document %+v, body %s", status, op.Responses, body)
			}
			content, ok := answer.Content[kind]
			if !ok {
				t.Fatalf("type %q is not in the document: %+v", kind, answer.Content)
			}
			if kind != "application/json" {
				return
			}
			at := "#/paths/" + strings.ReplaceAll(strings.ReplaceAll(path, "~", "~0"), "/", "~1") + "/get/responses/200/content/application~1json/schema"
			schema, err := compiler.Compile("http://doc/" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(at))
			if err != nil {
				t.Fatalf("schema %s: %v", content.Schema, err)
			}
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); err != nil {
				t.Errorf("%s: %v", body, err)
			}
			checked++
		})
	}
	if checked < 20 {
		t.Errorf("only %d answers were checked", checked)
	}
}

func fetch(t *testing.T, d *Daemon, path string) (status int, kind, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "GET", d.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin-secret")
	resp, err := d.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}
