package catalog

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/near"
)

// unknown is the error for a path that stands for nothing, with paths that may be meant.
func (c *Catalog) unknown(ctx context.Context, ws, path string) error {
	e := noScript(ws, path)
	paths, err := c.cfg.DB.ScriptPaths(ctx, ws, 2000)
	if err != nil {
		return e // the hint is not worth another error
	}
	if meant := nearest(path, paths, 3); len(meant) > 0 {
		e.Hint = "did you mean " + strings.Join(meant, ", ") + "?"
	}
	return e
}

func noScript(ws, path string) *engine.Error {
	return &engine.Error{Code: engine.NotFound, Op: "script.get", Path: path, Msg: "no such script in workspace " + ws,
		Hint: "deploy it first: millrace script push FILE PATH"}
}

// nearest returns up to n of paths that may have been meant by path, the nearest first.
func nearest(path string, paths []string, n int) []string {
	type candidate struct {
		path string
		far  int
	}
	var found []candidate
	name, limit := last(path), max(2, len(path)/4)
	for _, p := range paths {
		far := near.Distance(path, p, limit)
		if far > limit && last(p) == name {
			far = limit // the right name in another folder
		}
		if far <= limit {
			found = append(found, candidate{p, far})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.path, b.path)) })
	var out []string
	for _, f := range found[:min(n, len(found))] {
		out = append(out, f.path)
	}
	return out
}

func last(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }
