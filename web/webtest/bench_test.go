package webtest

import (
	"net"
	"net/http"
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkRun is what a request for a run and its result costs before and after the engine, whose part here is small.
func BenchmarkRun(b *testing.B) {
	e := NewEngine()
	handle := Start(b, e, nil).Server.Handler()
	var req fasthttp.Request
	req.Header.SetMethod(http.MethodPost)
	req.Header.SetContentType("application/json")
	req.SetBodyString(`{"n":1}`)
	req.SetRequestURI(waitHello)
	req.Header.Set("Authorization", "Bearer admin-secret")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 {
			e.Forget()
		}
		var ctx fasthttp.RequestCtx
		ctx.Init(&req, &net.TCPAddr{}, nil)
		if handle(&ctx); ctx.Response.StatusCode() != http.StatusOK {
			b.Fatalf("status %d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
}
