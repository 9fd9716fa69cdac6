package api

import (
	"encoding/json"
	"path"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) scriptRoutes() []Route {
	const s = "/api/w/{workspace}/scripts/"
	list := join([]Param{
		query("path_exact", "string", ""), query("path_start", "string", ""), query("created_by", "string", "username"),
		query("languages", "string", "one language"), query("show_archived", "boolean", ""),
	}, pageParams)
	create := []Param{query("skip_if_noop", "boolean", "make no new version when nothing changes")}
	return []Route{
		{Method: "POST", Path: s + "create", Name: "createScript", Group: "scripts", Access: User, Params: create, Status: statusNew,
			Summary: "Deploys a new version of a script", Body: JSONOf(wire.NewScript{}), Answer: TextOf("the version's hash"), Handle: h.createScript},
		{Method: "GET", Path: s + "list", Name: "listScripts", Group: "scripts", Access: User, Params: list,
			Summary: "Scripts, without content", Answer: JSONOf([]wire.Script{}), Handle: h.listScripts},
		{Method: "GET", Path: s + "list_paths", Name: "listScriptPaths", Group: "scripts", Access: User,
			Summary: "Paths of all scripts", Answer: JSONOf([]string{}), Handle: h.listScriptPaths},
		{Method: "GET", Path: s + "get/p/{path:*}", Name: "getScriptByPath", Group: "scripts", Access: User,
			Summary: "The newest version of a script", Answer: JSONOf(wire.Script{}), Handle: h.scriptByPath},
		{Method: "GET", Path: s + "get/h/{hash}", Name: "getScriptByHash", Group: "scripts", Access: User,
			Summary: "One version of a script", Answer: JSONOf(wire.Script{}), Handle: h.scriptByHash},
		{Method: "GET", Path: s + "raw/p/{path:*}", Name: "rawScriptByPath", Group: "scripts", Access: User,
			Summary: "The source of a script; a file ending after the path is accepted", Answer: TextOf("source"), Handle: h.rawScript},
		{Method: "GET", Path: s + "exists/p/{path:*}", Name: "existsScriptByPath", Group: "scripts", Access: User,
			Summary: "Whether there is a script at the path", Answer: JSONOf(true), Handle: h.scriptExists},
		{Method: "GET", Path: s + "history/p/{path:*}", Name: "getScriptHistoryByPath", Group: "scripts", Access: User,
			Summary: "Versions of a script, newest first", Answer: JSONOf([]wire.Version{}), Handle: h.scriptHistory},
		{Method: "POST", Path: s + "archive/p/{path:*}", Name: "archiveScriptByPath", Group: "scripts", Access: User,
			Summary: "Archives a script", Answer: TextOf("the path"), Handle: h.archiveByPath},
		{Method: "POST", Path: s + "archive/h/{hash}", Name: "archiveScriptByHash", Group: "scripts", Access: User,
			Summary: "Archives a script by its newest version", Answer: JSONOf(wire.Script{}), Handle: h.archiveByHash},
		{Method: "POST", Path: s + "delete/h/{hash}", Name: "deleteScriptByHash", Group: "scripts", Access: User,
			Summary: "Deletes one version for good", Answer: JSONOf(wire.Script{}), Handle: h.deleteByHash},
	}
}

func (h *API) createScript(a *Ask) error {
	body := a.PostBody()
	if len(body) == 0 || !utf8.Valid(body) {
		return invalid("the body must be a JSON object in UTF-8")
	}
	var n wire.NewScript
	s, err := readScript(body, &n)
	if err != nil {
		return err
	}
	o := a.options()
	opts := engine.ScriptOptions{AutoParent: n.AutoParent, SkipIfNoop: o.on("skip_if_noop")}
	if o.err != nil {
		return o.err
	}
	if n.ParentHash != "" {
		parent, err := engine.ParseHash(n.ParentHash)
		if err != nil {
			return err
		}
		opts.ParentHash = &parent
	}
	s.Workspace = a.Workspace
	hash, _, err := h.scripts.Create(a.Base, a.Who, a.Workspace, s, opts)
	if err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, hash.String())
	return nil
}

func (h *API) listScripts(a *Ask) error {
	o := a.options()
	f := engine.ScriptFilter{PathExact: o.text("path_exact"), PathStart: o.text("path_start"), CreatedBy: o.text("created_by"),
		Language: o.text("languages"), ShowArchived: o.on("show_archived")}
	f.Page, f.PerPage = o.page(a.windmillCLI())
	if o.err != nil {
		return o.err
	}
	found, err := h.scripts.List(a.Base, a.Who, a.Workspace, f)
	if err != nil {
		return err
	}
	list := make([]json.RawMessage, 0, len(found))
	for _, s := range found {
		v, err := viewScript(s, true)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	return JSON(a.RequestCtx, list)
}

// maxPaths bounds the list of all paths.
const maxPaths = 100_000

func (h *API) listScriptPaths(a *Ask) error {
	paths := []string{}
	for page := 1; len(paths) < maxPaths; page++ {
		found, err := h.scripts.List(a.Base, a.Who, a.Workspace, engine.ScriptFilter{Page: page, PerPage: countStep})
		if err != nil {
			return err
		}
		for _, s := range found {
			paths = append(paths, s.Path)
		}
		if len(found) < countStep {
			break
		}
	}
	return JSON(a.RequestCtx, paths)
}

func answerScript(a *Ask, s *engine.Script, err error) error {
	if err != nil {
		return err
	}
	b, err := viewScript(s, false)
	if err != nil {
		return err
	}
	rawJSON(a.RequestCtx, fasthttp.StatusOK, b)
	return nil
}

func (h *API) latest(a *Ask) (*engine.Script, error) {
	p, err := a.param("path")
	if err != nil {
		return nil, err
	}
	return h.scripts.Latest(a.Base, a.Who, a.Workspace, p)
}

func (h *API) versionAsked(a *Ask) (*engine.Script, error) {
	hash, err := a.hash()
	if err != nil {
		return nil, err
	}
	return h.scripts.ByHash(a.Base, a.Who, a.Workspace, hash)
}

func (h *API) scriptByPath(a *Ask) error {
	s, err := h.latest(a)
	return answerScript(a, s, err)
}

func (h *API) scriptByHash(a *Ask) error {
	s, err := h.versionAsked(a)
	return answerScript(a, s, err)
}

func (h *API) rawScript(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	s, err := h.scripts.Latest(a.Base, a.Who, a.Workspace, p)
	if ext := path.Ext(p); engine.CodeOf(err) == engine.NotFound && ext != "" {
		s, err = h.scripts.Latest(a.Base, a.Who, a.Workspace, p[:len(p)-len(ext)])
	}
	if err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, s.Content)
	return nil
}

func (h *API) scriptExists(a *Ask) error {
	s, err := h.latest(a)
	if err != nil && engine.CodeOf(err) != engine.NotFound {
		return err
	}
	return JSON(a.RequestCtx, err == nil && !s.Archived)
}

func (h *API) scriptHistory(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	found, err := h.scripts.History(a.Base, a.Who, a.Workspace, p)
	if err != nil {
		return err
	}
	list := make([]wire.Version, 0, len(found))
	for _, s := range found {
		list = append(list, wire.Version{Hash: s.Hash.String(), CreatedAt: s.CreatedAt, CreatedBy: s.CreatedBy, Message: s.Message, Archived: s.Archived})
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) archiveByPath(a *Ask) error {
	p, err := a.param("path")
	if err != nil {
		return err
	}
	if err := h.scripts.Archive(a.Base, a.Who, a.Workspace, p); err != nil {
		return err
	}
	Text(a.RequestCtx, fasthttp.StatusOK, p)
	return nil
}

func (h *API) archiveByHash(a *Ask) error {
	s, err := h.versionAsked(a)
	if err != nil {
		return err
	}
	newest, err := h.scripts.Latest(a.Base, a.Who, a.Workspace, s.Path)
	if err != nil {
		return err
	}
	if newest.Hash != s.Hash {
		return engine.Errorf(engine.Conflict, "script.archive", "%s is an old version of %s; only the newest (%s) can be archived", s.Hash, s.Path, newest.Hash)
	}
	if err := h.scripts.Archive(a.Base, a.Who, a.Workspace, s.Path); err != nil {
		return err
	}
	archived := *newest
	archived.Archived = true
	return answerScript(a, &archived, nil)
}

func (h *API) deleteByHash(a *Ask) error {
	s, err := h.versionAsked(a)
	if err != nil {
		return err
	}
	if err := h.scripts.Delete(a.Base, a.Who, a.Workspace, s.Hash); err != nil {
		return err
	}
	deleted := *s
	deleted.Deleted, deleted.Content = true, ""
	return answerScript(a, &deleted, nil)
}
