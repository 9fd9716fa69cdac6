package api

import (
	"encoding/json"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestEvent: a preprocessor sees the request, and not who asks.
func TestEvent(t *testing.T) {
	t.Parallel()
	var c fasthttp.RequestCtx
	c.Request.Header.SetMethod("POST")
	c.Request.SetRequestURI("/api/w/main/jobs/run/f/f/a/b?x=1&token=secret")
	c.Request.Header.Set("Authorization", "Bearer secret")
	c.Request.Header.Set("X-Hook", "yes")
	c.Request.SetBodyString(`{"id": 7}`)
	b, err := event(&c, json.RawMessage(`{"id": 7}`))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kind, Method, Path string
		Raw                string `json:"raw_string"`
		Body               map[string]int
		Query, Headers     map[string]string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Kind != "webhook" || got.Method != "POST" || got.Path != "/api/w/main/jobs/run/f/f/a/b" || got.Raw != `{"id": 7}` || got.Body["id"] != 7 ||
		len(got.Query) != 1 || got.Query["x"] != "1" || got.Headers["x-hook"] != "yes" || got.Headers["authorization"] != "" {
		t.Errorf("got %s", b)
	}
}
