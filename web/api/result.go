package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
)

// composite is a result that says how it wants to be answered.
type composite struct {
	Status  *int              `json:"windmill_status_code"`
	Type    string            `json:"windmill_content_type"`
	Headers map[string]string `json:"windmill_headers"`
	Result  json.RawMessage   `json:"result"`
}

var magic = []byte(`"windmill_`)

// writeResult answers a waiting caller: the result's own bytes with 200, the failure with 500, or what the result's
// windmill_ keys ask for.
func writeResult(ctx *fasthttp.RequestCtx, v *engine.JobView) error {
	if v.State != engine.StateSuccess {
		b, err := failure(v)
		if err != nil {
			return err
		}
		rawJSON(ctx, fasthttp.StatusInternalServerError, b)
		return nil
	}
	// Looking for the bytes first keeps ordinary results from being decoded.
	if len(v.Result) > 0 && v.Result[0] == '{' && bytes.Contains(v.Result, magic) {
		var c composite
		err := json.Unmarshal(v.Result, &c)
		if err != nil && asksComposite(v.Result) {
			Text(ctx, fasthttp.StatusInternalServerError, "Internal error: the result's windmill_status_code must be a number, windmill_content_type a string and windmill_headers an object of strings")
			return nil
		}
		if err == nil && (c.Status != nil || c.Type != "" || c.Headers != nil) {
			return writeComposite(ctx, c)
		}
	}
	rawJSON(ctx, fasthttp.StatusOK, v.Result)
	return nil
}

// asksComposite tells whether one of the keys is on the top level, not deeper in ordinary data.
func asksComposite(result json.RawMessage) bool {
	var top map[string]json.RawMessage
	if json.Unmarshal(result, &top) != nil {
		return false
	}
	for _, k := range []string{"windmill_status_code", "windmill_content_type", "windmill_headers"} {
		if _, ok := top[k]; ok {
			return true
		}
	}
	return false
}

func writeComposite(ctx *fasthttp.RequestCtx, c composite) error {
	status := fasthttp.StatusOK
	if c.Status != nil {
		status = *c.Status
	}
	if status < 200 || status > 599 {
		Text(ctx, fasthttp.StatusInternalServerError,
			fmt.Sprintf("Internal error: the result's windmill_status_code is %d, not a status from 200 to 599", status))
		return nil
	}
	contentType := c.Type
	for k, v := range c.Headers {
		if !headerName(k) || strings.ContainsAny(v, "\r\n\x00") || strings.ContainsAny(c.Type, "\r\n\x00") {
			Text(ctx, fasthttp.StatusInternalServerError, "Internal error: the result's windmill_headers hold a header that cannot be sent")
			return nil
		}
		switch strings.ToLower(k) {
		case "content-length", "transfer-encoding", "connection", "content-security-policy", "x-content-type-options":
		case "content-type":
			if contentType == "" {
				contentType = v
			}
		default:
			ctx.Response.Header.Set(k, v)
		}
	}
	body := []byte(c.Result)
	var text string
	if contentType == "" {
		contentType = typeJSON
	} else if json.Unmarshal(c.Result, &text) == nil {
		body = []byte(text) // a string in a given type is the body itself
	}
	// Scripts may answer pages, but not pages that act with the session of whoever opens them.
	ctx.Response.Header.Set("Content-Security-Policy", "sandbox allow-scripts allow-forms allow-popups allow-downloads")
	Bytes(ctx, status, strings.NewReplacer("\r", "", "\n", "").Replace(contentType), body)
	return nil
}

// headerName tells whether k is a token of RFC 9110.
func headerName(k string) bool {
	for _, c := range k {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) {
			return false
		}
	}
	return k != ""
}

// failure is the result of a job that did not succeed, always {"error": {"name", "message", ...}}.
func failure(v *engine.JobView) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if json.Unmarshal(v.Result, &top) == nil && top != nil {
		if _, ok := top["error"]; ok {
			return v.Result, nil
		}
		return encode(map[string]json.RawMessage{"error": v.Result})
	}
	name, message := "ExecutionError", "the job failed"
	if v.State == engine.StateCanceled {
		name, message = "Canceled", "canceled"
		if v.CanceledBy != "" {
			message += " by " + v.CanceledBy
		}
	}
	if v.Reason != "" {
		message += ": " + v.Reason
	}
	e := map[string]any{"name": name, "message": message}
	if len(v.Result) > 0 && string(v.Result) != "null" {
		e["result"] = v.Result
	}
	return encode(map[string]any{"error": e})
}

// resultOf is what clients read as the job's result.
func resultOf(v *engine.JobView) (json.RawMessage, error) {
	if v.State != engine.StateSuccess {
		return failure(v)
	}
	if len(v.Result) == 0 {
		return json.RawMessage("null"), nil
	}
	return v.Result, nil
}

// done tells whether the job is completed.
func done(s engine.JobState) bool {
	return s == engine.StateSuccess || s == engine.StateFailure || s == engine.StateCanceled
}
