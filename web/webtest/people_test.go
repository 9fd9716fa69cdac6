package webtest

import "testing"

func TestPeople(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	const u, g, ann = w + "users/", w + "groups/", "user-secret"
	play(t, d, []scenario{
		{name: "no credentials", path: g + "list", token: "-", status: 401},
		{name: "of another workspace", path: u + "list", token: "bound-secret", status: 403},
		{name: "who one is, with groups", token: ann, path: u + "whoami", status: 200, want: []string{`"username":"ann"`, `"is_admin":false`, `"groups":["all","ops"]`}},
		{name: "members", path: u + "list", status: 200, want: []string{`"email":"root@localhost"`, `"is_admin":true`, `"workspace_id":"main"`}},
		{name: "names", path: u + "list_usernames", status: 200, exact: `["ann","root"]`},
		{name: "one", path: u + "get/ann", status: 200, want: []string{`"groups":["all","ops"]`}},
		{name: "none", path: u + "get/eve", status: 404},
		{name: "add", method: "POST", path: w + "workspaces/add_user", body: `{"email":"eve@localhost","is_admin":false,"operator":false}`, status: 201, exact: "eve"},
		{name: "add nobody", method: "POST", path: w + "workspaces/add_user", status: 400},
		{name: "a stranger adds", token: ann, method: "POST", path: w + "workspaces/add_user", body: `{"email":"x@localhost"}`, status: 403},
		{name: "update", method: "POST", path: u + "update/eve", body: `{"is_admin":true}`, status: 200},
		{name: "updated", path: u + "get/eve", status: 200, want: []string{`"is_admin":true`, `"email":"eve@localhost"`}},
		{name: "update nobody", method: "POST", path: u + "update/none", body: `{"is_admin":true}`, status: 404},
		{name: "remove", method: "DELETE", path: u + "delete/eve", status: 200},
		{name: "removed", path: u + "get/eve", status: 404},
		{name: "a token of a member's", method: "POST", path: "/api/users/tokens/impersonate", body: `{"label":"x","impersonate_email":"ann@localhost"}`, status: 201},
		{name: "of nobody's", method: "POST", path: "/api/users/tokens/impersonate", body: `{"label":"x"}`, status: 400},
		{name: "only administrators", token: ann, method: "POST", path: "/api/users/tokens/impersonate", body: `{"impersonate_email":"root@localhost"}`, status: 403},

		{name: "groups", path: g + "list", status: 200, want: []string{`"name":"all"`, `"name":"ops","summary":"who operates","members":["ann"],"extra_perms":{}`}},
		{name: "the second page", path: g + "list?per_page=1&page=2", status: 200, want: []string{`"ops"`}, not: []string{`"all"`}},
		{name: "a wrong page", path: g + "list?page=x", status: 400},
		{name: "names of groups", path: g + "listnames", status: 200, exact: `["all","ops","c_demo"]`},
		{name: "names of one's own", path: g + "listnames?only_member_of=true", status: 200, exact: `["all"]`},
		{name: "a group", path: g + "get/ops", status: 200, want: []string{`"workspace_id":"main"`}},
		{name: "no group", path: g + "get/none", status: 404},
		{name: "create", method: "POST", path: g + "create", body: `{"name":"dev","summary":"s"}`, status: 201, exact: "dev"},
		{name: "a stranger creates", token: ann, method: "POST", path: g + "create", body: `{"name":"mine"}`, status: 403},
		{name: "update a group", method: "POST", path: g + "update/dev", body: `{"summary":"new"}`, status: 200},
		{name: "add to it", method: "POST", path: g + "adduser/dev", body: `{"username":"ann"}`, status: 200, exact: "dev"},
		{name: "add nobody to it", method: "POST", path: g + "adduser/dev", body: `{}`, status: 400},
		{name: "add to none", method: "POST", path: g + "adduser/none", body: `{"username":"ann"}`, status: 404},
		{name: "changed", path: g + "get/dev", status: 200, want: []string{`"summary":"new","members":["ann"]`}},
		{name: "remove from it", method: "POST", path: g + "removeuser/dev", body: `{"username":"ann"}`, status: 200},
		{name: "without them", path: g + "get/dev", status: 200, want: []string{`"members":[]`}},
		{name: "delete", method: "DELETE", path: g + "delete/dev", status: 200},
		{name: "deleted", path: g + "get/dev", status: 404},
	})
}
