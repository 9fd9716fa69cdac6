package web

import (
	"bytes"
	_ "embed"
	"html/template"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/web/api"
	"github.com/millrace/millrace/web/docs"
	"github.com/millrace/millrace/web/openapi"
)

//go:embed landing.html
var landingHTML string

var landing = template.Must(template.New("landing").Parse(landingHTML))

// pagePolicy allows our own pages their inline style and nothing else.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pages are the routes beside the API proper, with what they serve made ready.
func (s *Server) pages(manual *docs.Manual) ([]api.Route, error) {
	document, err := openapi.Document(append(s.api.Routes(), s.pageRoutes(nil, nil)...), s.cfg.Version)
	if err != nil {
		return nil, err
	}
	return s.pageRoutes(manual, document), nil
}

func (s *Server) pageRoutes(manual *docs.Manual, document []byte) []api.Route {
	serve := func(contentType string) func(*api.Ask) error {
		return func(a *api.Ask) error {
			api.Bytes(a.RequestCtx, fasthttp.StatusOK, contentType, document)
			return nil
		}
	}
	page := func(a *api.Ask) error { return showPage(a, manual) }
	html := api.Shape{Type: "text/html; charset=utf-8", Doc: "a page"}
	routes := []api.Route{
		{Method: "GET", Path: "/api/openapi.json", Name: "openapi", Group: "health", Access: api.Public,
			Summary: "This document", Answer: api.AnyJSON("an OpenAPI 3.1 document"), Handle: serve("application/json")},
		// Every JSON document is a YAML document.
		{Method: "GET", Path: "/api/openapi.yaml", Name: "openapiYaml", Group: "health", Access: api.Public,
			Summary: "This document, for readers of YAML", Answer: api.Shape{Type: "application/yaml", Doc: "the same document"}, Handle: serve("application/yaml")},
		{Method: "GET", Path: "/docs", Name: "docs", Group: "pages", Access: api.Public, Summary: "The manual", Answer: html, Handle: page},
		{Method: "GET", Path: "/docs/{page}", Name: "docsPage", Group: "pages", Access: api.Public, Summary: "A page of the manual", Answer: html, Handle: page},
	}
	routes = append(routes, s.approvalRoutes()...)
	if s.cfg.UI == nil {
		routes = append(routes, api.Route{Method: "GET", Path: "/", Name: "landing", Group: "pages", Access: api.Public,
			Summary: "A page that says the daemon runs", Answer: html, Handle: s.landing})
	}
	return routes
}

func (s *Server) landing(a *api.Ask) error {
	var b bytes.Buffer
	if err := landing.Execute(&b, struct{ Version string }{s.cfg.Version}); err != nil {
		return err
	}
	showHTML(a.RequestCtx, fasthttp.StatusOK, b.Bytes())
	return nil
}

func showPage(a *api.Ask, manual *docs.Manual) error {
	name, _ := a.UserValue("page").(string)
	if picture, found := manual.Image(name); found {
		a.Response.Header.Set("Content-Security-Policy", pagePolicy)
		api.Bytes(a.RequestCtx, fasthttp.StatusOK, "image/svg+xml", picture)
		return nil
	}
	html, found := manual.Page(name)
	status := fasthttp.StatusOK
	if !found {
		status = fasthttp.StatusNotFound
	}
	showHTML(a.RequestCtx, status, html)
	return nil
}

func showHTML(ctx *fasthttp.RequestCtx, status int, html []byte) {
	ctx.Response.Header.Set("Content-Security-Policy", pagePolicy)
	ctx.Response.Header.Set("Referrer-Policy", "no-referrer")
	api.Bytes(ctx, status, "text/html; charset=utf-8", html)
}

// notFound answers what no route takes: text under /api, whatever the method, and the UI elsewhere if there is one.
func (s *Server) notFound(ctx *fasthttp.RequestCtx) {
	path := string(ctx.Path())
	if s.cfg.UI != nil && !strings.HasPrefix(path, "/api/") && path != "/api" && (ctx.IsGet() || ctx.IsHead()) {
		s.cfg.UI(ctx)
		return
	}
	api.Text(ctx, fasthttp.StatusNotFound, "Not found: there is nothing at "+strings.ToValidUTF8(oneLine(path), "?"))
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}
