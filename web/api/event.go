package api

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// hidden are headers that say who asks, which is not for the code that runs.
var hidden = []string{"authorization", "cookie", "x-forwarded-authorization", "proxy-authorization"}

// event is a request as the preprocessor of a flow sees it; args is its body, read.
func event(c *fasthttp.RequestCtx, args json.RawMessage) (json.RawMessage, error) {
	headers, params := map[string]string{}, map[string]string{}
	for k, v := range c.Request.Header.All() {
		if name := strings.ToLower(string(k)); !slices.Contains(hidden, name) {
			headers[name] = string(v)
		}
	}
	for k, v := range c.QueryArgs().All() {
		if name := string(k); name != "token" {
			params[name] = string(v)
		}
	}
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	return json.Marshal(map[string]any{
		"kind": "webhook", "body": args, "raw_string": strings.ToValidUTF8(string(c.Request.Body()), "\uFFFD"), "method": string(c.Method()), "path": string(c.Path()),
		"query": params, "headers": headers,
	})
}
