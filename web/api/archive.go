package api

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
)

// The archive of a workspace is what Windmill's command line compares a folder with, field by field: an entry has what its file has, so
// fields that are null, empty or false are absent, and so are those that a server adds.

func (h *API) archiveRoutes() []Route {
	flag := func(name, doc string) Param { return query(name, "boolean", doc) }
	params := []Param{query("archive_type", "string", "zip, the default, or tar"), query("default_ts", "string", "the language whose files end in .ts"),
		flag("plain_secret", "secrets as they are; unless told, as they are stored"), flag("skip_variables", ""), flag("skip_resources", ""), flag("skip_secrets", ""),
		flag("skip_resource_types", ""), flag("include_schedules", ""), flag("include_users", ""), flag("include_groups", "")}
	return []Route{{Method: "GET", Path: "/api/w/{workspace}/workspaces/tarball", Name: "tarballWorkspace", Group: "workspaces", Access: User, Params: params,
		Summary: "Scripts, flows, variables, resources and, when asked, schedules, groups and members as files", Answer: Shape{Type: "application/zip", Doc: "the archive"},
		Handle: h.archive}}
}

// collected are the files of an archive.
type collected struct {
	h     *API
	a     *Ask
	files map[string][]byte

	skipSecrets, plainSecrets bool
	typescript                string // the language whose files end in .ts
}

func (h *API) archive(a *Ask) error {
	o := a.options()
	c := &collected{h: h, a: a, files: map[string][]byte{}, skipSecrets: o.on("skip_secrets"), plainSecrets: o.on("plain_secret"), typescript: o.text("default_ts")}
	kind := o.text("archive_type")
	if kind != "" && kind != "zip" && kind != "tar" {
		return invalid("Invalid Archive Type: %.20q is neither zip nor tar", kind)
	}
	parts := []struct {
		wanted bool
		add    func() error
	}{
		{true, c.scripts}, {true, c.flows}, {!o.on("skip_variables"), c.variables}, {!o.on("skip_resources"), c.resources},
		{!o.on("skip_resource_types"), c.types}, {o.on("include_schedules"), c.schedules}, {o.on("include_groups"), c.groups}, {o.on("include_users"), c.members},
	}
	if o.err != nil {
		return o.err
	}
	for _, p := range parts {
		if p.wanted {
			if err := p.add(); err != nil {
				return err
			}
		}
	}
	var out bytes.Buffer
	pack, media := zipped, "application/zip"
	if kind == "tar" {
		pack, media = tarred, "application/x-tar"
	}
	if err := pack(&out, c.files); err != nil {
		return err
	}
	a.SetContentType(media)
	a.SetStatusCode(fasthttp.StatusOK)
	a.SetBody(out.Bytes())
	return nil
}

func zipped(out io.Writer, files map[string][]byte) error {
	z := zip.NewWriter(out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

func tarred(out io.Writer, files map[string][]byte) error {
	t := tar.NewWriter(out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = t.Write(files[name])
		}
		if err != nil {
			return err
		}
	}
	return t.Close()
}

// put adds a file of fields, and of those in more what says something.
func (c *collected) put(name string, fields map[string]any, more map[string]json.RawMessage) error {
	for k, v := range more {
		if _, ours := fields[k]; !ours && says(v) {
			fields[k] = v
		}
	}
	b, err := encode(fields)
	if err != nil {
		return err
	}
	c.files[name] = b
	return nil
}

// says tells whether a value is more than the absence of one, which files of the command line leave out.
func says(v json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(v)), "") {
	case "", "null", "false", "0", `""`, "[]", "{}":
		return false
	}
	return true
}

// orEmptyText is a text that may be absent.
func orEmptyText(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// pages asks for one page after the other until one is not full.
func pages(do func(page, per int) (n int, err error)) error {
	const per = 1000
	for page := 1; ; page++ {
		n, err := do(page, per)
		if n < per || err != nil {
			return err
		}
	}
}

func (c *collected) scripts() error {
	return pages(func(page, per int) (int, error) {
		list, err := c.h.scripts.List(c.a.Base, c.a.Who, c.a.Workspace, engine.ScriptFilter{Page: page, PerPage: per})
		for _, listed := range list {
			s, err := c.h.scripts.ByHash(c.a.Base, c.a.Who, c.a.Workspace, listed.Hash)
			if err != nil {
				return 0, err
			}
			ending, known := c.h.endings[s.Language]
			if !known {
				return 0, engine.Errorf(engine.Internal, "workspace.archive", "no file ending is known for %s", s.Language)
			}
			if ending == ".ts" && c.typescript != "" && c.typescript != s.Language {
				ending = "." + s.Language + ending
			}
			c.files[s.Path+ending] = []byte(s.Content)
			fields := map[string]any{"summary": s.Summary, "description": s.Doc, "kind": s.Kind, "schema": s.Schema, "lock": orEmptyText(s.Lock)}
			more := maps.Clone(s.Extra)
			if more == nil {
				more = map[string]json.RawMessage{}
			}
			more["tag"], more["timeout"], more["network"] = quote(s.Tag), json.RawMessage(strconv.FormatInt(int64(s.Timeout.Seconds()), 10)), quote(s.Network)
			if err := c.put(s.Path+".script.json", fields, more); err != nil {
				return 0, err
			}
		}
		return len(list), err
	})
}

func (c *collected) flows() error {
	return pages(func(page, per int) (int, error) {
		list, err := c.h.flows.List(c.a.Base, c.a.Who, c.a.Workspace, engine.FlowFilter{Page: page, PerPage: per})
		for _, listed := range list {
			f, err := c.h.flows.ByVersion(c.a.Base, c.a.Who, c.a.Workspace, listed.Version)
			if err != nil {
				return 0, err
			}
			fields := map[string]any{"summary": f.Summary, "description": f.Doc, "value": f.Value}
			if f.Schema != nil {
				fields["schema"] = f.Schema
			}
			more := maps.Clone(f.Extra)
			if more == nil {
				more = map[string]json.RawMessage{}
			}
			more["tag"], more["timeout"] = quote(f.Tag), json.RawMessage(strconv.FormatInt(int64(f.Timeout.Seconds()), 10))
			if err := c.put(f.Path+".flow.json", fields, more); err != nil {
				return 0, err
			}
		}
		return len(list), err
	})
}
