package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/millrace/millrace/engine/flow/format"
	"github.com/millrace/millrace/web/client"
)

var flowList = command{
	name: "flow list", usage: "[--path START]", short: "list flows",
	new: func(c *call) func(context.Context) error {
		var start string
		var archived bool
		var limit int
		c.connects()
		c.flags.StringVar(&start, "path", "", "only paths that begin with `START`")
		c.flags.BoolVar(&archived, "archived", false, "archived ones instead of those in use")
		c.flags.IntVar(&limit, "limit", 100, "at most so many")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			q, err := filter(map[string]string{"path_start": start}, limit)
			if err != nil {
				return err
			}
			if archived {
				q.Set("show_archived", "true")
			}
			list, err := cl.Flows(ctx, q)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, f := range list {
				rows = append(rows, []string{f.Path, strconv.FormatInt(f.VersionID, 10), moment(f.EditedAt), f.EditedBy, firstLine(f.Summary)})
			}
			c.table("there are no flows; deploy one with millrace flow push FOLDER",
				[]string{"PATH", "VERSION", "DEPLOYED", "BY", "SUMMARY"}, rows)
			return nil
		})
	},
}

var flowShow = command{
	name: "flow show", usage: "PATH", short: "print a flow as YAML",
	long: "\nThe document goes to standard output, what else is known of the version to standard error; with --json all of it, as it is stored.",
	new: func(c *call) func(context.Context) error {
		var version int64
		c.connects()
		c.flags.Int64Var(&version, "version", 0, "this `version` instead of the newest")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			raw, err := cl.Flow(ctx, c.args[0])
			if version != 0 {
				raw, err = cl.FlowByVersion(ctx, version)
			}
			if err != nil || c.json {
				return c.jsonOr(err, raw)
			}
			var known client.FlowListed
			if err := json.Unmarshal(raw, &known); err != nil {
				return fmt.Errorf("decode the flow: %w", err)
			}
			if known.Path != c.args[0] {
				return fmt.Errorf("%d is a version of %s", version, known.Path)
			}
			document, err := documentOf(raw)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "%s, version %d, deployed %s by %s\n", known.Path, known.VersionID, moment(known.EditedAt), known.EditedBy)
			if known.LockErrorLogs != "" {
				fmt.Fprintf(c.stderr, "some of its scripts could not be made ready:\n%s\n", known.LockErrorLogs)
			}
			_, err = c.stdout.Write(document)
			return err
		}, "PATH")
	},
}

// notInDocument are fields of a stored flow that are the server's.
var notInDocument = []string{"workspace_id", "version_id", "path", "edited_by", "edited_at", "archived", "starred", "extra_perms",
	"lock_error_logs", "deployment_msg", "summary", "description", "value", "schema"}

// documentOf is a stored flow as flow.yaml has it.
func documentOf(stored json.RawMessage) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(stored, &fields); err != nil {
		return nil, fmt.Errorf("decode the flow: %w", err)
	}
	if string(fields["ws_error_handler_muted"]) == "false" {
		delete(fields, "ws_error_handler_muted")
	}
	names := []string{"summary", "description", "value", "schema"}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(notInDocument, name) {
			names = append(names, name)
		}
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range names {
		if v := fields[name]; len(v) > 0 && (name != "description" || string(v) != `""`) {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%q:%s", name, v)
		}
	}
	b.WriteByte('}')
	f, err := format.Parse(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("read the flow: %w", err)
	}
	return f.YAML()
}

var flowHistory = command{
	name: "flow history", usage: "PATH", short: "list the versions of a flow",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.FlowHistory(ctx, c.args[0])
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, v := range list {
				rows = append(rows, []string{strconv.FormatInt(v.ID, 10), moment(v.CreatedAt), v.CreatedBy, firstLine(v.Message)})
			}
			c.table("there are no versions of "+c.args[0], []string{"VERSION", "DEPLOYED", "BY", "MESSAGE"}, rows)
			return nil
		}, "PATH")
	},
}

var flowArchive = command{
	name: "flow archive", usage: "PATH", short: "archive a flow; its versions and jobs stay",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if err := cl.ArchiveFlow(ctx, c.args[0]); err != nil || c.json {
				return c.jsonOr(err, map[string]string{"archived": c.args[0]})
			}
			fmt.Fprintf(c.stdout, "%s is archived; pushing to the path brings it back\n", c.args[0])
			return nil
		}, "PATH")
	},
}
