package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/runtimes/jsontext"
)

// reserved are the query parameters that steer a run and so are never arguments of a GET.
var reserved = map[string]bool{
	"scheduled_for": true, "scheduled_in_secs": true, "parent_job": true, "root_job": true, "job_id": true, "tag": true,
	"timeout": true, "priority": true, "include_header": true, "include_query": true, "raw": true, "wrap_body": true,
	"payload": true, "skip_preprocessor": true, "queue_limit": true, "token": true, "cache_ttl": true,
	"invisible_to_owner": true, "memory_id": true,
}

// readArgs makes the arguments of a run from the request: a JSON object as it came, byte for byte, unless options ask
// for additions. nil means no arguments. The result does not share memory with the request.
func readArgs(ctx *fasthttp.RequestCtx) (json.RawMessage, error) {
	o := &options{args: ctx.QueryArgs()}
	raw, wrap := o.on("raw"), o.on("wrap_body")
	extra := map[string]json.RawMessage{}
	if ctx.IsGet() {
		queryArgs(o, extra)
	}
	named(ctx, o, extra)
	payload := o.text("payload")
	if o.err != nil {
		return nil, o.err
	}
	body := ctx.PostBody()
	if raw {
		if !utf8.Valid(body) {
			return nil, invalid("the body is not UTF-8 text, so it cannot be passed as raw_string")
		}
		extra["raw_string"] = quote(string(body))
	}
	var base json.RawMessage
	var err error
	switch {
	case len(body) > 0:
		base, err = bodyArgs(ctx, body, wrap)
	case payload != "":
		base, err = payloadArgs(payload)
	}
	if err != nil || len(extra) == 0 {
		return base, err
	}
	return merge(base, extra)
}

// bodyArgs reads a body by its content type. A missing type, and a form that is plainly JSON (curl -d without a
// header), count as JSON.
func bodyArgs(ctx *fasthttp.RequestCtx, body []byte, wrap bool) (json.RawMessage, error) {
	kind := string(ctx.Request.Header.ContentType())
	if kind != "" {
		k, _, err := mime.ParseMediaType(kind)
		if err != nil {
			return nil, invalid("Content-Type %q is malformed", kind)
		}
		kind = k
	}
	form := kind == "application/x-www-form-urlencoded"
	switch {
	case kind == "", kind == typeJSON, strings.HasSuffix(kind, "+json"), form && looksLikeJSON(body):
		return jsonArgs(bytes.Clone(body), wrap)
	case form:
		return formArgs(ctx.PostArgs(), wrap)
	case strings.HasPrefix(kind, "text/"), kind == "application/xml", strings.HasSuffix(kind, "+xml"):
		if !utf8.Valid(body) {
			return nil, invalid("the body is not UTF-8 text")
		}
		name := "raw_string"
		if wrap {
			name = "body"
		}
		return encode(map[string]string{name: string(body)})
	}
	return nil, invalid("bodies of type %s are not understood; send application/json, a URL-encoded form or text", kind)
}

// jsonArgs takes b over. Anything but an object becomes the argument "body".
func jsonArgs(b []byte, wrap bool) (json.RawMessage, error) {
	b = bytes.Trim(b, " \t\r\n")
	if len(b) == 0 {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, invalid("the body is not UTF-8 text")
	}
	if !jsontext.Valid(b) {
		return nil, invalid("the body is not valid JSON: %v", json.Unmarshal(b, new(any)))
	}
	if wrap || (b[0] != '{' && string(b) != "null") {
		out := make([]byte, 0, len(b)+9)
		out = append(out, `{"body":`...)
		out = append(out, b...)
		return append(out, '}'), nil
	}
	if b[0] != '{' {
		return nil, nil
	}
	return b, nil
}

func payloadArgs(payload string) (json.RawMessage, error) {
	// Both alphabets and both paddings are in use.
	s := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_", " ", "-").Replace(payload), "=")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, invalid("payload is not base64url")
	}
	args, err := jsonArgs(b, false)
	if err != nil {
		return nil, invalid("payload is not the base64url of valid JSON")
	}
	return args, nil
}

// formArgs makes strings of fields, and lists of fields that come more than once.
func formArgs(form *fasthttp.Args, wrap bool) (json.RawMessage, error) {
	fields := map[string][]string{}
	bad := false
	for k, v := range form.All() {
		bad = bad || !utf8.Valid(k) || !utf8.Valid(v)
		fields[string(k)] = append(fields[string(k)], string(v))
	}
	if bad {
		return nil, invalid("the form is not UTF-8 text")
	}
	out := make(map[string]any, len(fields))
	for k, v := range fields {
		if len(v) == 1 {
			out[k] = v[0]
		} else {
			out[k] = v
		}
	}
	if wrap {
		out = map[string]any{"body": out}
	}
	return encode(out)
}

// queryArgs takes the parameters of a GET that are not options as arguments. What reads as a JSON number, object,
// array, true, false or null is passed as such (a quoted value as its string), anything else as a string.
func queryArgs(o *options, into map[string]json.RawMessage) {
	for k, v := range o.args.All() {
		if name := string(k); !reserved[name] {
			if !utf8.Valid(k) || !utf8.Valid(v) {
				o.fail("query parameter %q is not valid text", name)
				return
			}
			if json.Valid(v) {
				into[name] = bytes.Clone(v)
			} else {
				into[name] = quote(string(v))
			}
		}
	}
}

// named adds the headers and query parameters that include_header and include_query list.
func named(ctx *fasthttp.RequestCtx, o *options, into map[string]json.RawMessage) {
	for _, name := range o.list("include_query") {
		if ctx.QueryArgs().Has(name) && name != "token" {
			into[name] = quote(o.text(name))
		}
	}
	for _, name := range o.list("include_header") {
		if v := ctx.Request.Header.Peek(name); v != nil && utf8.Valid(v) && !secretHeader(name) {
			into[strings.ReplaceAll(strings.ToLower(name), "-", "_")] = quote(string(v))
		}
	}
}

// secretHeader names headers that carry the caller's credentials, which a script must not see.
func secretHeader(name string) bool {
	return strings.EqualFold(name, fasthttp.HeaderAuthorization) || strings.EqualFold(name, fasthttp.HeaderCookie)
}

// merge adds extra to an object; extra wins over what the body claims, since headers may be signatures.
func merge(base json.RawMessage, extra map[string]json.RawMessage) (json.RawMessage, error) {
	if base == nil {
		return encode(extra)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(base, &all); err != nil {
		return nil, invalid("the arguments are not a JSON object: %v", err)
	}
	for k, v := range extra {
		all[k] = v
	}
	return encode(all)
}

func looksLikeJSON(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[') && json.Valid(b)
}

func quote(s string) json.RawMessage {
	b, err := encode(s)
	if err != nil { // strings always encode
		return json.RawMessage(`""`)
	}
	return b
}
