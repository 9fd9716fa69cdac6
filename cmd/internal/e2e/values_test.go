package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// values gives a script a secret by reference, and asks a flow for it; the record of the job has the reference.
func values(t *testing.T, d *daemon) {
	ctx := t.Context()
	if err := d.CreateVariable(ctx, client.NewVariable{Path: "f/db/password", Value: "hunter2 & more", IsSecret: true}); err != nil {
		t.Fatal(err)
	}
	r := client.NewResource{Path: "f/db/main", ResourceType: "postgresql", Value: json.RawMessage(`{"host":"db","password":"$var:f/db/password"}`)}
	if err := d.PutResource(ctx, r); err != nil {
		t.Fatal(err)
	}
	source := "def main(db, word):\n    return [db['host'], len(db['password']), word]"
	id, err := d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "python3", Content: source, Path: "u/test/values"},
		Args: json.RawMessage(`{"db":"$res:f/db/main","word":"$var:f/db/password"}`)})
	if err != nil {
		t.Fatal(err)
	}
	j := d.wait(ctx, id)
	if result(j) != `["db",14,"hunter2 & more"]` {
		t.Errorf("%s %s", j.Status, result(j))
	}
	if args, err := json.Marshal(j.Args); err != nil || strings.Contains(string(args), "hunter2") || !strings.Contains(string(args), "$res:f/db/main") {
		t.Errorf("the record has %s, %v", args, err)
	}
	flow := `{"flow_env": {"db": "$res:f/db/main"}, "modules": [{"id": "a", "value": {"type": "rawscript", "language": "bash", "content": "x=\"$1\"\ny=\"$2\"\necho \"$x-$y\"",
		"input_transforms": {"x": {"type": "javascript", "expr": "flow_env.db.host"}, "y": {"type": "javascript", "expr": "variable('f/db/password').length"}}}}]}`
	got, err := d.RunWait(ctx, client.Run{Flow: &client.FlowPreview{Value: json.RawMessage(flow)}})
	if err != nil || !strings.Contains(string(got), "db-14") && string(got) != `"db-14"` {
		t.Errorf("a flow: %s, %v", got, err)
	}
	id, err = d.Run(ctx, client.Run{Preview: &wire.Preview{Language: "bash", Content: "x=\"$1\"\necho $x", Path: "u/test/none"}, Args: json.RawMessage(`{"x":"$var:f/db/none"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if j := d.wait(ctx, id); !strings.Contains(result(j), "f/db/none") || !strings.Contains(result(j), "no such variable") {
		t.Errorf("a variable that is not there: %s", result(j))
	}
}
