package webtest

import "testing"

func TestVariables(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	const v = w + "variables/"
	play(t, d, []scenario{
		{name: "no credentials", path: v + "list", token: "-", status: 401},
		{name: "of another workspace", path: v + "list", token: "bound-secret", status: 403},
		{name: "create nothing", method: "POST", path: v + "create", status: 400},
		{name: "create at no path", method: "POST", path: v + "create", body: `{"path":"x","value":"1"}`, status: 400, want: []string{"not a valid path"}},
		{name: "create", method: "POST", path: v + "create", body: `{"path":"f/a/v","value":"top","is_secret":true,"description":"d"}`, status: 201, exact: "f/a/v"},
		{name: "create again", method: "POST", path: v + "create", body: `{"path":"f/a/v","value":"1"}`, status: 409},
		{name: "create with a wrong flag", method: "POST", path: v + "create?already_encrypted=x", body: `{"path":"f/a/w","value":"1"}`, status: 400},
		{name: "get", path: v + "get/f/a/v", status: 200, want: []string{`"value":"top"`, `"is_secret":true`, `"description":"d"`, `"workspace_id":"main"`}},
		{name: "get without the secret", path: v + "get/f/a/v?decrypt_secret=false", status: 200, not: []string{"top", `"value"`}},
		{name: "get as stored", path: v + "get/f/a/v?decrypt_secret=false&include_encrypted=true", status: 200, want: []string{`"value":"sealed:top"`}},
		{name: "get the value", path: v + "get_value/f/a/v", status: 200, kind: "application/json", exact: `"top"`},
		{name: "get unknown", path: v + "get_value/f/a/none", status: 404},
		{name: "list", path: v + "list", status: 200, want: []string{`"path":"f/a/v"`, `"value":"hello"`}, not: []string{"top"}},
		{name: "list a wrong page", path: v + "list?page=x", status: 400},
		{name: "exists", path: v + "exists/f/a/v", status: 200, exact: "true"},
		{name: "exists not", path: v + "exists/f/a/none", status: 200, exact: "false"},
		{name: "update", method: "POST", path: v + "update/f/a/v", body: `{"value":"new"}`, status: 200},
		{name: "updated", path: v + "get_value/f/a/v", status: 200, exact: `"new"`},
		{name: "update unknown", method: "POST", path: v + "update/f/a/none", body: `{"value":"new"}`, status: 404},
		{name: "delete", method: "DELETE", path: v + "delete/f/a/v", status: 200},
		{name: "delete again", method: "DELETE", path: v + "delete/f/a/v", status: 404},
	})
}

func TestResources(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	const r = w + "resources/"
	play(t, d, []scenario{
		{name: "create", method: "POST", path: r + "create", body: `{"path":"f/a/r","resource_type":"postgresql","value":{"b":1,"a":"$var:f/a/v"}}`, status: 201, exact: "f/a/r"},
		{name: "create again", method: "POST", path: r + "create", body: `{"path":"f/a/r","resource_type":"x","value":1}`, status: 409},
		{name: "replace", method: "POST", path: r + "create?update_if_exists=true", body: `{"path":"f/a/r","resource_type":"pg","value":{"b":1,"a":"$var:f/a/v"}}`, status: 201},
		{name: "get", path: r + "get/f/a/r", status: 200, want: []string{`"value":{"b":1,"a":"$var:f/a/v"}`, `"resource_type":"pg"`, `"is_oauth":false`}},
		{name: "get the value", path: r + "get_value/f/a/r", status: 200, exact: `{"b":1,"a":"$var:f/a/v"}`},
		{name: "get it filled", path: r + "get_value_interpolated/f/a/r", status: 200, exact: `{"b":1,"a":"filled"}`},
		{name: "list", path: r + "list?resource_type=pg", status: 200, want: []string{`"path":"f/a/r"`}},
		{name: "exists", path: r + "exists/f/a/r", status: 200, exact: "true"},
		{name: "update", method: "POST", path: r + "update/f/a/r", body: `{"value":[1]}`, status: 200},
		{name: "update the value", method: "POST", path: r + "update_value/f/a/r", body: `{"value":[2]}`, status: 200},
		{name: "updated", path: r + "get_value/f/a/r", status: 200, exact: "[2]"},
		{name: "delete", method: "DELETE", path: r + "delete/f/a/r", status: 200},
		{name: "gone", path: r + "get_value/f/a/r", status: 404},
		{name: "create a type", method: "POST", path: r + "type/create", body: `{"name":"c_ini","schema":{"type":"object"},"format_extension":"ini"}`, status: 201},
		{name: "get a type", path: r + "type/get/c_ini", status: 200, want: []string{`"schema":{"type":"object"}`}},
		{name: "update a type", method: "POST", path: r + "type/update/c_ini", body: `{"description":"D"}`, status: 200},
		{name: "list types", path: r + "type/list", status: 200, want: []string{`"description":"D"`, `"schema":{"type":"object"}`}},
		{name: "list names of types", path: r + "type/listnames", status: 200, want: []string{`"c_ini"`, `"c_demo"`}},
		{name: "files", path: r + "file_resource_type_to_file_ext_map", status: 200, exact: `{"c_ini":{"format_extension":"ini","is_fileset":false}}`},
		{name: "a type exists", path: r + "type/exists/none", status: 200, exact: "false"},
		{name: "delete a type", method: "DELETE", path: r + "type/delete/c_ini", status: 200},
	})
}
