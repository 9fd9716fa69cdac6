package catalog

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
)

// unknown is the error for a path that stands for nothing, with paths that may be meant.
func (c *Catalog) unknown(ctx context.Context, ws, path string) error {
	e := noScript(ws, path)
	paths, err := c.cfg.DB.ScriptPaths(ctx, ws, 2000)
	if err != nil {
		return e // the hint is not worth another error
	}
	if near := nearest(path, paths, 3); len(near) > 0 {
		e.Hint = "did you mean " + strings.Join(near, ", ") + "?"
	}
	return e
}

func noScript(ws, path string) *engine.Error {
	return &engine.Error{Code: engine.NotFound, Op: "script.get", Path: path, Msg: "no such script in workspace " + ws,
		Hint: "deploy it first: millrace script push FILE PATH"}
}

// nearest returns up to n of paths that may have been meant by path, the nearest first.
func nearest(path string, paths []string, n int) []string {
	type near struct {
		path string
		far  int
	}
	var found []near
	name, limit := last(path), max(2, len(path)/4)
	for _, p := range paths {
		far := distance(path, p, limit)
		if far > limit && last(p) == name {
			far = limit // the right name in another folder
		}
		if far <= limit {
			found = append(found, near{p, far})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.path, b.path)) })
	var out []string
	for _, f := range found[:min(n, len(found))] {
		out = append(out, f.path)
	}
	return out
}

func last(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// distance is the number of edits from a to b, or something above limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit || len(a) > 255 {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			edit := diagonal
			if a[i] != b[j] {
				edit++
			}
			diagonal = row[j+1]
			row[j+1] = min(edit, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
