// Package stream writes server-sent events. One goroutine writes one stream; the handler that started it has returned
// by then, so a producer must not touch the request.
package stream

import (
	"bufio"
	"net"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// patience is how long a client may leave one event unread before the stream is given up.
const patience = 30 * time.Second

// Writer writes events. Its methods return an error once the client is gone; the producer must then return.
type Writer struct {
	w    *bufio.Writer
	conn net.Conn // nil in tests without a connection
}

// Serve answers the request with an event stream that produce writes in its own goroutine. A panic of produce ends the
// stream and is logged, nothing else.
func Serve(ctx *fasthttp.RequestCtx, log zerolog.Logger, produce func(*Writer)) {
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.Response.Header.SetContentType("text/event-stream")
	ctx.Response.Header.Set("Cache-Control", "no-cache")
	ctx.Response.Header.Set("X-Accel-Buffering", "no")
	ctx.Response.ImmediateHeaderFlush = true
	conn := ctx.Conn()
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer func() {
			if r := recover(); r != nil {
				log.Error().Interface("panic", r).Bytes("stack", debug.Stack()).Msg("event stream panicked")
			}
		}()
		produce(&Writer{w: w, conn: conn})
	})
}

// Event sends one event. data must be a single line; id may be empty and comes back as Last-Event-ID.
func (w *Writer) Event(id string, data []byte) error {
	w.extend()
	if id != "" {
		w.put("id: ", id, "\n")
	}
	w.put("data: ")
	_, _ = w.w.Write(data) // bufio keeps the first error; Flush returns it
	w.put("\n\n")
	return w.w.Flush()
}

// Ping sends a comment, which clients ignore: it keeps proxies from closing a quiet stream and finds dead clients.
func (w *Writer) Ping() error {
	w.extend()
	w.put(": ping\n\n")
	return w.w.Flush()
}

func (w *Writer) put(parts ...string) {
	for _, p := range parts {
		_, _ = w.w.WriteString(p)
	}
}

// extend moves the server's write deadline, which otherwise covers the whole answer.
func (w *Writer) extend() {
	if w.conn != nil {
		_ = w.conn.SetWriteDeadline(time.Now().Add(patience)) // fails only on a closed connection, which Flush reports
	}
}
