package clitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace/millrace/web/client"
)

// valueRoutes keep variables and resources by path.
func (d *Daemon) valueRoutes(mux *http.ServeMux) {
	variables, resources := map[string]client.Variable{}, map[string]client.Resource{}
	v, r := "/api/w/main/variables/", "/api/w/main/resources/"
	mux.HandleFunc("POST "+v+"create", d.locked(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		var n client.NewVariable
		if json.Unmarshal(body, &n) != nil || !strings.Contains(n.Path, "/") {
			http.Error(w, "Bad request: "+n.Path+": not a valid path", http.StatusBadRequest)
			return
		}
		variables[n.Path] = client.Variable{Path: n.Path, Value: &n.Value, IsSecret: n.IsSecret, Description: n.Description, EditedBy: "ann", EditedAt: Noon}
		created(w, n.Path)
	}))
	mux.HandleFunc("POST "+v+"update/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, body []byte) {
		var e client.EditVariable
		x := variables[r.PathValue("path")]
		if json.Unmarshal(body, &e) != nil {
			return
		}
		x.Value = e.Value
		if e.IsSecret != nil {
			x.IsSecret = *e.IsSecret
		}
		if e.Description != nil {
			x.Description = *e.Description
		}
		variables[x.Path] = x
	}))
	mux.HandleFunc("GET "+v+"exists/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		_, there := variables[r.PathValue("path")]
		reply(w, there)
	}))
	mux.HandleFunc("GET "+v+"get/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) { answerOne(w, r, variables, "variable") }))
	mux.HandleFunc("GET "+v+"list", d.locked(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		list := []client.Variable{}
		for _, path := range slices.Sorted(maps.Keys(variables)) {
			x := variables[path]
			if x.IsSecret {
				x.Value = nil
			}
			list = append(list, x)
		}
		reply(w, list)
	}))
	mux.HandleFunc("DELETE "+v+"delete/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) { deleteOne(w, r, variables, "variable") }))

	mux.HandleFunc("POST "+r+"create", d.locked(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		var n client.NewResource
		if json.Unmarshal(body, &n) != nil || !strings.Contains(n.Path, "/") {
			http.Error(w, "Bad request: "+n.Path+": not a valid path", http.StatusBadRequest)
			return
		}
		resources[n.Path] = client.Resource{Path: n.Path, Value: n.Value, ResourceType: n.ResourceType, Description: n.Description, EditedBy: "ann", EditedAt: Noon}
		created(w, n.Path)
	}))
	mux.HandleFunc("GET "+r+"get/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) { answerOne(w, r, resources, "resource") }))
	mux.HandleFunc("GET "+r+"get_value_interpolated/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		reply(w, json.RawMessage(strings.ReplaceAll(string(resources[r.PathValue("path")].Value), "$var:", "the value of ")))
	}))
	mux.HandleFunc("GET "+r+"list", d.locked(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		list := []client.Resource{}
		for _, path := range slices.Sorted(maps.Keys(resources)) {
			list = append(list, resources[path])
		}
		reply(w, list)
	}))
	mux.HandleFunc("DELETE "+r+"delete/{path...}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) { deleteOne(w, r, resources, "resource") }))
}

func created(w http.ResponseWriter, path string) {
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, path)
}

func answerOne[V any](w http.ResponseWriter, r *http.Request, from map[string]V, kind string) {
	v, there := from[r.PathValue("path")]
	if !there {
		http.Error(w, "Not found: "+r.PathValue("path")+": no such "+kind, http.StatusNotFound)
		return
	}
	reply(w, v)
}

func deleteOne[V any](w http.ResponseWriter, r *http.Request, from map[string]V, kind string) {
	if _, there := from[r.PathValue("path")]; !there {
		http.Error(w, "Not found: "+r.PathValue("path")+": no such "+kind, http.StatusNotFound)
		return
	}
	delete(from, r.PathValue("path"))
	fmt.Fprint(w, r.PathValue("path"))
}
