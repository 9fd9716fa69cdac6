package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/millrace/millrace/web/client"
)

var resourceSet = command{
	name: "resource set", usage: "PATH --type NAME [-d JSON]", short: "make or replace a resource",
	long: `
The value is JSON; without -d it is read from standard input. Texts in it may refer to variables and other resources.

  millrace resource set f/db/main --type postgresql -d '{"host": "db", "user": "app", "password": "$var:f/db/password"}'
  millrace run f/db/report -d '{"db": "$res:f/db/main"}'`,
	new: func(c *call) func(context.Context) error {
		var kind, text, description string
		c.connects()
		c.flags.StringVar(&kind, "type", "", "`name` of its type, such as postgresql")
		c.flags.StringVar(&text, "d", "", "its value as `JSON`")
		c.flags.StringVar(&description, "description", "", "`text` about it")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if kind == "" {
				return wrongUsage("a resource needs --type")
			}
			value := json.RawMessage(text)
			if text == "" {
				var err error
				if value, err = io.ReadAll(io.LimitReader(c.stdin, 2<<20)); err != nil {
					return fmt.Errorf("read the value: %w", err)
				}
			}
			if !json.Valid(value) {
				return wrongUsage("the value is not JSON")
			}
			n := client.NewResource{Path: c.args[0], Value: value, ResourceType: kind, Description: description}
			err := cl.PutResource(ctx, n)
			if err != nil || c.json {
				return c.jsonOr(err, map[string]string{"path": n.Path})
			}
			fmt.Fprintf(c.stdout, "%s is stored\n", n.Path)
			return nil
		}, "PATH")
	},
}

var resourceGet = command{
	name: "resource get", usage: "PATH [--filled]", short: "print the value of a resource",
	new: func(c *call) func(context.Context) error {
		var filled bool
		c.connects()
		c.flags.BoolVar(&filled, "filled", false, "with the variables and resources that it refers to")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if filled {
				v, err := cl.ResourceValue(ctx, c.args[0])
				if err != nil {
					return err
				}
				return c.printJSON(v)
			}
			r, err := cl.Resource(ctx, c.args[0])
			if err != nil || c.json {
				return c.jsonOr(err, r)
			}
			return c.printJSON(r.Value)
		}, "PATH")
	},
}

var resourceList = command{
	name: "resource list", short: "list resources",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Resources(ctx)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, r := range list {
				rows = append(rows, []string{r.Path, r.ResourceType, moment(r.EditedAt), r.EditedBy, firstLine(r.Description)})
			}
			c.table("there are no resources; make one with millrace resource set PATH --type NAME -d JSON",
				[]string{"PATH", "TYPE", "EDITED", "BY", "DESCRIPTION"}, rows)
			return nil
		})
	},
}

var resourceDelete = command{
	name: "resource delete", usage: "PATH...", short: "delete resources",
	new: changesSchedules("deleted", (*client.Client).DeleteResource),
}
