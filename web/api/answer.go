package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"
)

// Text answers with a line of plain text.
func Text(ctx *fasthttp.RequestCtx, status int, s string) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(typeText)
	ctx.SetBodyString(s)
}

// Bytes answers with a body of a given type.
func Bytes(ctx *fasthttp.RequestCtx, status int, contentType string, b []byte) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(contentType)
	ctx.SetBody(b)
}

// rawJSON answers with JSON that is already encoded, without looking at it.
func rawJSON(ctx *fasthttp.RequestCtx, status int, b []byte) {
	if len(b) == 0 {
		b = []byte("null")
	}
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(typeJSON)
	ctx.Response.SetBodyRaw(b)
}

// JSON answers 200 with v encoded.
func JSON(ctx *fasthttp.RequestCtx, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	rawJSON(ctx, fasthttp.StatusOK, b)
	return nil
}

// encode is json.Marshal without HTML escapes: results and logs come back as they were written.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
