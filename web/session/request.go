package session

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"

	"github.com/valyala/fasthttp"
)

// boot makes request ids of different starts of the daemon differ.
var boot = func() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails on Linux; an all-zero prefix would only be less unique
	return hex.EncodeToString(b[:])
}()

// RequestID names the request in answers and logs: the client's own X-Request-Id if it is a sane one, else ours.
// It is the same for every call during one request.
func RequestID(ctx *fasthttp.RequestCtx) string {
	if h := ctx.Request.Header.Peek("X-Request-Id"); len(h) > 0 && len(h) <= 64 && plain(h) {
		return string(h)
	}
	b := make([]byte, 0, 32)
	b = append(b, boot...)
	b = append(b, '-')
	b = strconv.AppendUint(b, ctx.ID(), 36)
	return string(b)
}

func plain(b []byte) bool {
	for _, c := range b {
		ok := c == '-' || c == '_' || c == '.' || ('0' <= c && c <= '9') || ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z')
		if !ok {
			return false
		}
	}
	return true
}
