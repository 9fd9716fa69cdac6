package api

import (
	"context"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/session"
)

// statusOf is the one place where a code becomes a status and the first words of the answer.
func statusOf(c engine.Code) (int, string) {
	switch c {
	case engine.NotFound:
		return fasthttp.StatusNotFound, "Not found"
	case engine.Invalid:
		return fasthttp.StatusBadRequest, "Bad request"
	case engine.Conflict:
		return fasthttp.StatusConflict, "Conflict"
	case engine.Unauthorized:
		return fasthttp.StatusUnauthorized, "Unauthorized"
	case engine.Forbidden:
		return fasthttp.StatusForbidden, "Permission denied"
	case engine.TooLarge:
		return fasthttp.StatusRequestEntityTooLarge, "Too large"
	case engine.TooMany:
		return fasthttp.StatusTooManyRequests, "Too many requests"
	case engine.Unavailable:
		return fasthttp.StatusServiceUnavailable, "Unavailable"
	default:
		return fasthttp.StatusInternalServerError, "Internal error"
	}
}

// fail answers with err as one line of text. Causes of internal errors go to the log only.
func (h *API) fail(ctx *fasthttp.RequestCtx, err error) {
	ctx.Response.ResetBody()
	code := engine.CodeOf(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		Text(ctx, fasthttp.StatusServiceUnavailable, "Unavailable: the daemon is stopping or overloaded; try again")
		return
	}
	status, head := statusOf(code)
	if status == fasthttp.StatusInternalServerError {
		id := session.RequestID(ctx)
		h.log.Error().Err(err).Str("request", id).Bytes("method", ctx.Method()).Bytes("path", ctx.Path()).Msg("request failed")
		Text(ctx, status, head+": request "+id+" failed; the daemon's log says why")
		return
	}
	if code == engine.Unauthorized {
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	}
	if code == engine.TooMany { // the queue moves within seconds, or stands for longer: then each try costs next to nothing
		ctx.Response.Header.Set("Retry-After", "1")
	}
	Text(ctx, status, head+": "+describe(err))
}

// Describe says what was wrong for a page: the status and one line.
func Describe(err error) (status int, text string) {
	status, _ = statusOf(engine.CodeOf(err))
	return status, describe(err)
}

// describe says what was wrong in one line, without the name of the inner operation.
func describe(err error) string {
	var e *engine.Error
	if !errors.As(err, &e) {
		return oneLine(err.Error())
	}
	var parts []string
	for _, s := range []string{e.Path, e.Msg} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, describe(e.Err))
	}
	s := strings.Join(parts, ": ")
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return oneLine(s)
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

func invalid(format string, args ...any) error {
	return engine.Errorf(engine.Invalid, "request", format, args...)
}

func notFound(format string, args ...any) error {
	return engine.Errorf(engine.NotFound, "request", format, args...)
}
