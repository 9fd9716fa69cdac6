package clitest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace/millrace/web/client"
)

// people are the members of a workspace, by username, and its groups.
type people struct {
	members map[string]client.Member
	groups  map[string]*client.Group
}

func (d *Daemon) peopleRoutes(mux *http.ServeMux) {
	p := &people{members: map[string]client.Member{"ann": {Username: "ann", Email: "ann@example.org", IsAdmin: true, Groups: []string{"all"}}}, groups: map[string]*client.Group{}}
	const w = "/api/w/main/"
	mux.HandleFunc("GET "+w+"users/list", d.locked(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		list := []client.Member{}
		for _, name := range slices.Sorted(maps.Keys(p.members)) {
			list = append(list, p.members[name])
		}
		reply(w, list)
	}))
	mux.HandleFunc("POST "+w+"workspaces/add_user", d.locked(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		var n client.NewMember
		if json.Unmarshal(body, &n) != nil || !strings.Contains(n.Email, "@") {
			http.Error(w, "Bad request: not an email", http.StatusBadRequest)
			return
		}
		p.members[n.Username] = client.Member{Username: n.Username, Email: n.Email, IsAdmin: n.IsAdmin, Groups: []string{"all"}}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, n.Username)
	}))
	mux.HandleFunc("DELETE "+w+"users/delete/{name}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		delete(p.members, r.PathValue("name"))
		fmt.Fprint(w, r.PathValue("name"))
	}))
	mux.HandleFunc("POST /api/users/tokens/impersonate", d.locked(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "mr_for_%s", strings.NewReplacer(`"`, "", "{", "", "}", "").Replace(string(body)))
	}))
	p.groupRoutes(d, mux, w+"groups/")
}

func (p *people) groupRoutes(d *Daemon, mux *http.ServeMux, g string) {
	mux.HandleFunc("GET "+g+"list", d.locked(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		list := []client.Group{{Name: "all", Summary: "every member", Members: slices.Sorted(maps.Keys(p.members))}}
		for _, name := range slices.Sorted(maps.Keys(p.groups)) {
			list = append(list, *p.groups[name])
		}
		reply(w, list)
	}))
	mux.HandleFunc("POST "+g+"create", d.locked(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		var n client.NewGroup
		if json.Unmarshal(body, &n) != nil || n.Name == "all" {
			http.Error(w, "Conflict: all: there is such a group already", http.StatusConflict)
			return
		}
		p.groups[n.Name] = &client.Group{Name: n.Name, Summary: n.Summary, Members: []string{}}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, n.Name)
	}))
	mux.HandleFunc("DELETE "+g+"delete/{name}", d.locked(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		delete(p.groups, r.PathValue("name"))
		fmt.Fprint(w, r.PathValue("name"))
	}))
	change := func(do func(list []string, name string) []string) http.HandlerFunc {
		return d.locked(func(w http.ResponseWriter, r *http.Request, body []byte) {
			var m client.GroupMember
			if json.Unmarshal(body, &m) != nil {
				http.Error(w, "Bad request: nobody is named", http.StatusBadRequest)
				return
			}
			group, known := p.groups[r.PathValue("name")]
			if _, member := p.members[m.Username]; !known || !member {
				http.Error(w, "Not found: "+m.Username+": they are not a member of workspace main", http.StatusNotFound)
				return
			}
			group.Members = do(group.Members, m.Username)
			fmt.Fprint(w, group.Name)
		})
	}
	mux.HandleFunc("POST "+g+"adduser/{name}", change(func(list []string, name string) []string { return append(list, name) }))
	mux.HandleFunc("POST "+g+"removeuser/{name}", change(func(list []string, name string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return s == name })
	}))
}

// locked reads a request and answers it while nobody else is answered.
func (d *Daemon) locked(do func(w http.ResponseWriter, r *http.Request, body []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		d.Lock()
		defer d.Unlock()
		do(w, r, body)
	}
}
