package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
)

// Ask is one request after the door: who asks, and in which workspace. It lives as long as its handler runs.
type Ask struct {
	*fasthttp.RequestCtx
	Who       engine.Principal
	test      engine.FlowTest // of a preview of a flow that runs a part of it
	part      bool            // it does
	Workspace string          // "" on routes without one
	Base      context.Context // ends when the daemon gives up on requests; not when the client goes away
}

// param returns a segment of the path, decoded.
func (a *Ask) param(name string) (string, error) {
	s, _ := a.UserValue(name).(string)
	if strings.IndexByte(s, '%') >= 0 {
		u, err := url.PathUnescape(s)
		if err != nil {
			return "", invalid("%s in the path is not properly escaped", name)
		}
		s = u
	}
	if s == "" {
		return "", invalid("the path lacks its %s", name)
	}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return "", invalid("%s in the path is not valid text", name)
	}
	return s, nil
}

func (a *Ask) jobID() (uuid.UUID, error) {
	s, err := a.param("id")
	if err != nil {
		return uuid.UUID{}, err
	}
	return parseID("job id", s)
}

func (a *Ask) hash() (engine.Hash, error) {
	s, err := a.param("hash")
	if err != nil {
		return 0, err
	}
	return engine.ParseHash(s)
}

// parseID accepts only the usual form with hyphens.
func parseID(what, s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return uuid.UUID{}, invalid("%s must be a UUID like 01890dd5-ea3f-8746-c3e1-d0b3a1d5e0a1", what)
	}
	return id, nil
}

// body decodes the JSON body into v.
func (a *Ask) body(v any) error {
	b := a.PostBody()
	if len(b) == 0 {
		return invalid("the request has no body; send JSON")
	}
	if !utf8.Valid(b) {
		return invalid("the body is not UTF-8 text")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return invalid("the body is not the JSON that is expected here: %v", err)
	}
	return moments(v)
}

// windmillCLI tells Windmill's own command line, whose habits differ in two places.
func (a *Ask) windmillCLI() bool {
	return string(a.Request.Header.Peek("X-Windmill-Client")) == "cli"
}
