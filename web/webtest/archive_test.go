package webtest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestArchive: a workspace as files, which files there are, and what they leave out.
func TestArchive(t *testing.T) {
	t.Parallel()
	d := Start(t, NewEngine(), nil)
	const path = w + "workspaces/tarball"
	play(t, d, []scenario{
		{name: "no credentials", path: path, token: "-", status: 401},
		{name: "of another workspace", path: path, token: "bound-secret", status: 403},
		{name: "another kind", path: path + "?archive_type=rar", status: 400, want: []string{"Invalid Archive Type"}},
		{name: "a wrong flag", path: path + "?skip_secrets=perhaps", status: 400},
		{name: "a secret", method: "POST", path: w + "variables/create", body: `{"path":"f/a/s","value":"top","is_secret":true,"description":""}`, status: 201},
		{name: "a script", method: "POST", path: w + "scripts/create", body: `{"path":"f/a/ts","content":"export function main() {}","language":"tongue","tag":"big","lock":"","envs":[],"labels":["x"],"restart_unless_cancelled":false}`, status: 201},
	})
	get := func(query string) map[string]string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+path+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer admin-secret")
		resp, err := d.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		files := map[string]string{}
		if strings.Contains(query, "archive_type=tar") {
			for r := tar.NewReader(bytes.NewReader(b)); ; {
				head, err := r.Next()
				if err != nil {
					return files
				}
				text, _ := io.ReadAll(r)
				files[head.Name] = string(text)
			}
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(r)
			files[f.Name] = string(text)
		}
		return files
	}
	all := get("?include_schedules=true&include_groups=true&include_users=true&default_ts=tongue")
	for name, want := range map[string]string{
		"f/a/ts.ts":                      `export function main() {}`,
		"f/a/ts.script.json":             `{"description":"","kind":"script","labels":["x"],"lock":"","schema":null,"summary":"","tag":"big"}`,
		"f/demo/hello.flow.json":         `"value":{"modules":[]}`,
		"f/a/s.variable.json":            `{"description":"","is_secret":true,"value":"sealed:top"}`,
		"f/demo/hello.resource.json":     `{"description":"","resource_type":"c_demo","value":1}`,
		"c_demo.resource-type.json":      `"schema":null`,
		"f/demo/hello.schedule.json":     `"script_path":"f/demo/hello"`,
		"groups/ops.group.json":          `{"admins":[],"members":["u/ann"],"summary":"who operates"}`,
		"users/root@localhost.user.json": `{"disabled":false,"role":"admin","username":"root"}`,
		"users/ann@localhost.user.json":  `"role":"developer"`,
	} {
		if !strings.Contains(all[name], want) {
			t.Errorf("%s is %s, want %s; there are %v", name, all[name], want, slices.Sorted(maps.Keys(all)))
		}
	}
	for _, never := range []string{"edited_by", "next_at", "workspace_id"} {
		if strings.Contains(all["f/demo/hello.schedule.json"], never) {
			t.Errorf("the schedule has %s: %s", never, all["f/demo/hello.schedule.json"])
		}
	}
	few := get("?archive_type=tar&skip_variables=true&skip_resources=true&skip_resource_types=true&default_ts=deno")
	if _, ok := few["f/a/ts.tongue.ts"]; !ok || len(few) != 5 {
		t.Errorf("files %v of %v", slices.Sorted(maps.Keys(few)), slices.Sorted(maps.Keys(all)))
	}
	if secret := get("?plain_secret=true")["f/a/s.variable.json"]; !strings.Contains(secret, `"value":"top"`) {
		t.Errorf("the secret is %s", secret)
	}
	if _, there := get("?skip_secrets=true")["f/a/s.variable.json"]; there {
		t.Error("a secret in spite of skip_secrets")
	}
}
