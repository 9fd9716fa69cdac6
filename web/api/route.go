package api

import "github.com/valyala/fasthttp"

// Access is who may call a route.
type Access int

// The kinds of access.
const (
	Public Access = iota // no credentials
	User                 // anybody who is known, inside the workspaces open to them
	Admin                // administrators of the instance
	Link                 // whoever has a link that was made for it; who is known is known
)

// Route is one operation: all that the router, the checks at the door and the OpenAPI document need to know of it.
type Route struct {
	Method  string
	Path    string // in the router's syntax: "/api/w/{workspace}/scripts/get/p/{path:*}"
	Name    string // operation id
	Group   string
	Summary string
	Access  Access
	Params  []Param // query and header parameters; those of the path are found in Path
	Body    Shape   // what is read
	Status  int     // of success; zero: 200
	Answer  Shape   // what is written on success
	Handle  func(*Ask) error
}

// Param is a query or header parameter.
type Param struct {
	Name   string
	Type   string // "string", "integer", "boolean"
	Doc    string
	Header bool
}

// Shape describes a body.
type Shape struct {
	Type  string // content type; "" is no body
	Value any    // a value of the Go type that is encoded; nil with a JSON type: any JSON
	Doc   string
}

// Shapes of bodies.
const (
	typeJSON  = "application/json"
	typeText  = "text/plain; charset=utf-8"
	typeHTML  = "text/html; charset=utf-8"
	typeSSE   = "text/event-stream"
	typeProm  = "text/plain; version=0.0.4; charset=utf-8"
	typeYAML  = "application/yaml"
	statusNew = fasthttp.StatusCreated
)

// JSONOf is a JSON body of v's type.
func JSONOf(v any) Shape { return Shape{Type: typeJSON, Value: v} }

// AnyJSON is a JSON body of any type.
func AnyJSON(doc string) Shape { return Shape{Type: typeJSON, Doc: doc} }

// TextOf is a text body.
func TextOf(doc string) Shape { return Shape{Type: typeText, Doc: doc} }

// Query parameters that several routes share.
func query(name, typ, doc string) Param { return Param{Name: name, Type: typ, Doc: doc} }

var (
	pageParams = []Param{
		query("page", "integer", "from 1"),
		query("per_page", "integer", "1 to 1000, 30 unless told"),
	}
	runParams = []Param{
		query("scheduled_for", "string", "RFC 3339 time before which the job does not start"),
		query("scheduled_in_secs", "integer", "the same, in seconds from now"),
		query("parent_job", "string", "id of the job that asks"),
		query("job_id", "string", "id of the new job, brought by the caller; pushing it twice is one job"),
		query("tag", "string", "which workers may take it"),
		query("timeout", "integer", "seconds that the run may take"),
		query("priority", "integer", "higher first"),
		query("queue_limit", "integer", "answer 429 when the job would have to wait behind more jobs of its tag than this"),
		query("include_header", "string", "names of request headers to add to the arguments, comma separated (X-Foo becomes x_foo)"),
		query("include_query", "string", "names of query parameters to add to the arguments, comma separated"),
		query("raw", "boolean", "add the body as it came as argument raw_string"),
		query("wrap_body", "boolean", "pass the whole body as argument body"),
		{Name: "Idempotency-Key", Type: "string", Header: true, Doc: "a second request with the same key answers the first one's job"},
	}
	skipPreprocessor = query("skip_preprocessor", "boolean", "the arguments are as they are: the flow's preprocessor does not make them of the request")
	payloadParam     = query("payload", "string", "base64url of a JSON object with the arguments")
)

func join(lists ...[]Param) []Param {
	var all []Param
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
