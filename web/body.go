package web

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/web/api"
)

// bodies are buffers of requests' bodies.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the size from which a buffer is not kept.
const maxPooled = 1 << 20

// withBody reads the body before next runs, within the limit, except where the handler reads it as it comes. The body lives
// as long as next runs.
func (s *Server) withBody(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		stream := ctx.Request.BodyStream()
		if stream == nil {
			next(ctx)
			return
		}
		if api.Streams(ctx) {
			next(ctx)
			s.partWays(ctx) // what was not read must not be taken for the next request
			return
		}
		if ctx.Request.Header.ContentLength() == 0 {
			_ = ctx.Request.CloseBodyStream() // the server's own: it cannot fail
			next(ctx)
			return
		}
		b := bodies.Get().(*bytes.Buffer)
		b.Reset()
		defer func() {
			ctx.Request.ResetBody()
			if b.Cap() <= maxPooled {
				bodies.Put(b)
			}
		}()
		if err := readBody(b, stream, ctx.Request.Header.ContentLength(), s.cfg.MaxBody); err != nil {
			s.refuse(ctx, err)
			s.partWays(ctx)
			return
		}
		ctx.Request.SetBodyRaw(b.Bytes())
		next(ctx)
	}
}

// readBody reads a body of length bytes, or of any length when that is negative, but not more than limit.
func readBody(b *bytes.Buffer, stream io.Reader, length, limit int) error {
	if length > limit {
		return fasthttp.ErrBodyTooLarge
	}
	n, err := b.ReadFrom(io.LimitReader(stream, int64(limit)+1))
	switch {
	case err != nil:
		return err
	case n > int64(limit):
		return fasthttp.ErrBodyTooLarge
	case length >= 0 && n < int64(length):
		return errors.New("the body ends early")
	}
	return nil
}

// partWays closes the connection after the answer, in a way that lets a client that still sends read it.
func (s *Server) partWays(ctx *fasthttp.RequestCtx) {
	ctx.SetConnectionClose()
	if c, ok := ctx.Conn().(*conn); ok {
		c.linger = true
	}
}
