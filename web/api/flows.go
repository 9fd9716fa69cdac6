package api

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/flow/check"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) flowRoutes() []Route {
	const s = "/api/w/{workspace}/flows/"
	list := join([]Param{query("path_exact", "string", ""), query("path_start", "string", ""), query("created_by", "string", "username"),
		query("show_archived", "boolean", "")}, pageParams)
	noop := []Param{query("skip_if_noop", "boolean", "make no new version when nothing changes")}
	deployed := Shape{Type: typeText, Doc: "the path; with Accept: application/json {\"path\", \"version\", \"created\", \"warnings\"}"}
	return []Route{
		{Method: "POST", Path: s + "create", Name: "createFlow", Group: "flows", Access: User, Params: noop, Status: statusNew,
			Summary: "Deploys a flow; one that is wrong is refused, with the module, the field and the line", Body: JSONOf(wire.NewFlow{}), Answer: deployed, Handle: h.createFlow},
		{Method: "POST", Path: s + "update/{path:*}", Name: "updateFlow", Group: "flows", Access: User, Params: noop,
			Summary: "Deploys a new version of a flow", Body: JSONOf(wire.NewFlow{}), Answer: deployed, Handle: h.updateFlow},
		{Method: "GET", Path: s + "list", Name: "listFlows", Group: "flows", Access: User, Params: list,
			Summary: "Flows, without value and schema", Answer: JSONOf([]wire.Flow{}), Handle: h.listFlows},
		{Method: "GET", Path: s + "list_paths", Name: "listFlowPaths", Group: "flows", Access: User,
			Summary: "Paths of all flows", Answer: JSONOf([]string{}), Handle: h.listFlowPaths},
		{Method: "GET", Path: s + "get/{path:*}", Name: "getFlowByPath", Group: "flows", Access: User,
			Summary: "The newest version of a flow", Answer: JSONOf(wire.Flow{}), Handle: h.flowByPath},
		{Method: "GET", Path: s + "get/v/{version}", Name: "getFlowVersion", Group: "flows", Access: User,
			Summary: "One version of a flow", Answer: JSONOf(wire.Flow{}), Handle: h.flowByVersion},
		{Method: "GET", Path: s + "get/v/{version}/p/{path:*}", Name: "getFlowVersionByPath", Group: "flows", Access: User,
			Summary: "One version of the flow at a path", Answer: JSONOf(wire.Flow{}), Handle: h.flowByVersion},
		{Method: "GET", Path: s + "get_latest_version/{path:*}", Name: "getFlowLatestVersion", Group: "flows", Access: User,
			Summary: "The number of the newest version", Answer: JSONOf(wire.FlowVersion{}), Handle: h.flowLatestVersion},
		{Method: "GET", Path: s + "exists/{path:*}", Name: "existsFlowByPath", Group: "flows", Access: User,
			Summary: "Whether there is a flow at the path", Answer: JSONOf(true), Handle: h.flowExists},
		{Method: "GET", Path: s + "history/p/{path:*}", Name: "getFlowHistoryByPath", Group: "flows", Access: User,
			Summary: "Versions of a flow, newest first", Answer: JSONOf([]wire.FlowVersion{}), Handle: h.flowHistory},
		{Method: "POST", Path: s + "archive/{path:*}", Name: "archiveFlowByPath", Group: "flows", Access: User,
			Summary: "Archives a flow, or brings it back", Body: JSONOf(wire.FlowArchive{}), Answer: TextOf("the path"), Handle: h.archiveFlow},
		{Method: "DELETE", Path: s + "delete/{path:*}", Name: "deleteFlowByPath", Group: "flows", Access: User,
			Summary: "Deletes a flow with all its versions; one that is not there is deleted", Answer: TextOf("the path"), Handle: h.deleteFlow},
	}
}

func (h *API) createFlow(a *Ask) error { return h.deployFlow(a, engine.FlowOptions{}, statusNew) }

func (h *API) updateFlow(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	return h.deployFlow(a, engine.FlowOptions{Replace: p}, fasthttp.StatusOK)
}

func (h *API) deployFlow(a *Ask, opts engine.FlowOptions, status int) error {
	body := a.PostBody()
	if len(body) == 0 || !utf8.Valid(body) {
		return invalid("the body must be a JSON object in UTF-8")
	}
	f, err := readFlow(body, opts.Replace)
	if err != nil {
		return err
	}
	o := a.options()
	opts.SkipIfNoop = o.on("skip_if_noop")
	if o.err != nil {
		return o.err
	}
	f.Workspace = a.Workspace
	version, created, found, err := h.flows.Create(a.Base, a.Who, a.Workspace, f, opts)
	if err != nil {
		return err
	}
	if !strings.Contains(string(a.Request.Header.Peek("Accept")), typeJSON) {
		Text(a.RequestCtx, status, f.Path)
		return nil
	}
	done := wire.FlowDeployed{Path: f.Path, Version: version, Created: created, Warnings: []wire.FlowWarning{}}
	for _, w := range found {
		if w.Severity == check.Warning {
			done.Warnings = append(done.Warnings, wire.FlowWarning{Module: w.Module, Field: w.Field, Line: w.Line, Column: w.Column, Message: w.Msg, Hint: w.Hint})
		}
	}
	if err := JSON(a.RequestCtx, done); err != nil {
		return err
	}
	a.SetStatusCode(status)
	return nil
}

func (h *API) listFlows(a *Ask) error {
	o := a.options()
	f := engine.FlowFilter{PathExact: o.text("path_exact"), PathStart: o.text("path_start"), CreatedBy: o.text("created_by"), ShowArchived: o.on("show_archived")}
	f.Page, f.PerPage = o.page(a.windmillCLI())
	if o.err != nil {
		return o.err
	}
	found, err := h.flows.List(a.Base, a.Who, a.Workspace, f)
	if err != nil {
		return err
	}
	list := make([]json.RawMessage, 0, len(found))
	for _, f := range found {
		v, err := viewFlow(f, true)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) listFlowPaths(a *Ask) error {
	paths := []string{}
	for page := 1; len(paths) < maxPaths; page++ {
		found, err := h.flows.List(a.Base, a.Who, a.Workspace, engine.FlowFilter{Page: page, PerPage: countStep})
		if err != nil {
			return err
		}
		for _, f := range found {
			paths = append(paths, f.Path)
		}
		if len(found) < countStep {
			break
		}
	}
	return JSON(a.RequestCtx, paths)
}

func (h *API) latestFlow(a *Ask) (*engine.Flow, error) {
	p, err := a.param("path")
	if err != nil {
		return nil, err
	}
	return h.flows.Latest(a.Base, a.Who, a.Workspace, p)
}

func answerFlow(a *Ask, f *engine.Flow, err error) error {
	if err != nil {
		return err
	}
	b, err := viewFlow(f, false)
	if err != nil {
		return err
	}
	rawJSON(a.RequestCtx, fasthttp.StatusOK, b)
	return nil
}

func (h *API) flowByPath(a *Ask) error {
	f, err := h.latestFlow(a)
	return answerFlow(a, f, err)
}

// version is the number of a flow's version in the path.
func (a *Ask) version() (int64, error) {
	s, err := a.param("version")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, invalid("the version of a flow is a whole number, not %.40s", s)
	}
	return n, nil
}

func (h *API) flowByVersion(a *Ask) error {
	n, err := a.version()
	if err != nil {
		return err
	}
	f, err := h.flows.ByVersion(a.Base, a.Who, a.Workspace, n)
	if p, _ := a.UserValue("path").(string); err == nil && p != "" && p != f.Path {
		return engine.Errorf(engine.NotFound, "flow.get", "%d is no version of %s", n, p)
	}
	return answerFlow(a, f, err)
}

func viewFlowVersion(f *engine.Flow) wire.FlowVersion {
	return wire.FlowVersion{ID: f.Version, CreatedAt: f.CreatedAt, CreatedBy: f.CreatedBy, Message: f.Message, Archived: f.Archived}
}

func (h *API) flowLatestVersion(a *Ask) error {
	f, err := h.latestFlow(a)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewFlowVersion(f))
}

func (h *API) flowExists(a *Ask) error {
	_, err := h.latestFlow(a)
	if err != nil && engine.CodeOf(err) != engine.NotFound {
		return err
	}
	return JSON(a.RequestCtx, err == nil)
}

func (h *API) flowHistory(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	found, err := h.flows.History(a.Base, a.Who, a.Workspace, p)
	if err != nil {
		return err
	}
	list := make([]wire.FlowVersion, 0, len(found))
	for _, f := range found {
		list = append(list, viewFlowVersion(f))
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) archiveFlow(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	var b wire.FlowArchive
	if len(a.PostBody()) > 0 {
		if err := a.body(&b); err != nil {
			return err
		}
	}
	if err := h.flows.Archive(a.Base, a.Who, a.Workspace, p, b.Archived == nil || *b.Archived); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, p)
	return nil
}

// deleteFlow is idempotent: Windmill's command line deletes a flow once for each file of its folder.
func (h *API) deleteFlow(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	if _, err := h.flows.Delete(a.Base, a.Who, a.Workspace, p); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, p)
	return nil
}
