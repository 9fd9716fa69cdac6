package api

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// compatible satisfies the version test of Windmill's clients (>= 1.585, no other 'v' in front).
const compatible = "CE v1.819.0"

func (h *API) healthRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/api/version", Name: "backendVersion", Group: "health", Access: Public,
			Summary: "The version of Windmill whose clients work here", Answer: TextOf(compatible), Handle: func(a *Ask) error {
				Text(a.RequestCtx, fasthttp.StatusOK, compatible)
				return nil
			}},
		{Method: "GET", Path: "/api/millrace/version", Name: "millraceVersion", Group: "health", Access: Public,
			Summary: "What runs here", Answer: JSONOf(wire.Product{}), Handle: func(a *Ask) error {
				return JSON(a.RequestCtx, wire.Product{Name: "millrace", Version: h.version, Compatible: compatible, API: "/api/openapi.json"})
			}},
		{Method: "GET", Path: "/api/health", Name: "live", Group: "health", Access: Public,
			Summary: "200 while the daemon lives", Answer: TextOf("ok"), Handle: h.live},
		{Method: "GET", Path: "/api/ready", Name: "ready", Group: "health", Access: Public,
			Summary: "200 while the daemon can take jobs, 503 with the reason otherwise", Answer: TextOf("ok"), Handle: h.ready},
		{Method: "GET", Path: "/api/jobs/db_clock", Name: "getDbClock", Group: "health", Access: User,
			Summary: "The server's clock in Unix milliseconds", Answer: JSONOf(int64(0)), Handle: func(a *Ask) error {
				return JSON(a.RequestCtx, time.Now().UnixMilli())
			}},
		{Method: "GET", Path: "/metrics", Name: "metrics", Group: "health", Access: Public,
			Summary: "Metrics in Prometheus' text format", Answer: Shape{Type: typeProm, Doc: "metrics"}, Handle: h.metricsText},
	}
}

func (h *API) live(a *Ask) error {
	if err := h.health.Live(); err != nil {
		return unavailable(err)
	}
	Text(a.RequestCtx, fasthttp.StatusOK, "ok")
	return nil
}

func (h *API) ready(a *Ask) error {
	select {
	case <-h.draining:
		return engine.Errorf(engine.Unavailable, "ready", "the daemon is stopping")
	default:
	}
	if err := h.health.Ready(a.Base); err != nil {
		return unavailable(err)
	}
	Text(a.RequestCtx, fasthttp.StatusOK, "ok")
	return nil
}

// unavailable shows the reason: probes are read by whoever runs the daemon.
func unavailable(err error) error {
	return &engine.Error{Code: engine.Unavailable, Op: "health", Msg: oneLine(err.Error())}
}

func (h *API) metricsText(a *Ask) error {
	var b bytes.Buffer
	if h.metrics != nil {
		h.metrics(&b)
	}
	b.WriteString("# HELP millrace_http_requests_total Answered requests by class of status.\n# TYPE millrace_http_requests_total counter\n")
	for i := range h.answered {
		fmt.Fprintf(&b, "millrace_http_requests_total{code=\"%dxx\"} %d\n", i+1, h.answered[i].Load())
	}
	b.WriteString("# HELP millrace_http_streams Open event streams.\n# TYPE millrace_http_streams gauge\nmillrace_http_streams " +
		strconv.FormatInt(h.streams.Load(), 10) + "\n")
	Bytes(a.RequestCtx, fasthttp.StatusOK, typeProm, b.Bytes())
	return nil
}
