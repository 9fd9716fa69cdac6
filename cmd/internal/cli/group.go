package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/web/client"
)

var groupList = command{
	name: "group list", short: "list groups and who is in them",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Groups(ctx)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, g := range list {
				rows = append(rows, []string{g.Name, strings.Join(g.Members, " "), firstLine(g.Summary)})
			}
			c.table("there are no groups; make one with millrace group create NAME", []string{"GROUP", "MEMBERS", "SUMMARY"}, rows)
			return nil
		})
	},
}

var groupCreate = command{
	name: "group create", usage: "NAME [USER...] [--summary TEXT]", short: "make a group, and take members of the workspace into it",
	long: "\nGroups say who may approve a step of a flow: user_groups_required in its suspend.\n\n  millrace group create releasers ann bob",
	new: func(c *call) func(context.Context) error {
		var summary string
		c.connects()
		c.flags.StringVar(&summary, "summary", "", "`text` about it")
		return func(ctx context.Context) error {
			if err := c.want([]string{"NAME", "USER..."}[:max(1, min(len(c.args), 2))]...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			if err := cl.CreateGroup(ctx, client.NewGroup{Name: c.args[0], Summary: summary}); err != nil {
				return c.explain(err)
			}
			return c.explain(c.inGroup(ctx, "is made", cl.AddToGroup))
		}
	},
}

var groupAdd = command{
	name: "group add", usage: "NAME USER...", short: "take members of the workspace into a group",
	new: func(c *call) func(context.Context) error {
		return changesGroup(c, "has them", (*client.Client).AddToGroup)
	},
}

var groupRemove = command{
	name: "group remove", usage: "NAME USER...", short: "take people out of a group",
	new: func(c *call) func(context.Context) error {
		return changesGroup(c, "is without them", (*client.Client).RemoveFromGroup)
	},
}

func changesGroup(c *call, done string, do func(cl *client.Client, ctx context.Context, name, username string) error) func(context.Context) error {
	c.connects()
	return c.asking(func(ctx context.Context, cl *client.Client) error {
		if len(c.args) < 2 {
			return wrongUsage("USER is missing")
		}
		return c.inGroup(ctx, done, func(ctx context.Context, name, user string) error { return do(cl, ctx, name, user) })
	}, "NAME", "USER...")
}

// inGroup does something to a group for each user that the command line names, and says what is so now.
func (c *call) inGroup(ctx context.Context, done string, do func(ctx context.Context, name, username string) error) error {
	for _, user := range c.args[1:] {
		if err := do(ctx, c.args[0], user); err != nil {
			return err
		}
	}
	if c.json {
		return c.printJSON(map[string]any{"group": c.args[0], "users": c.args[1:]})
	}
	fmt.Fprintf(c.stdout, "group %s %s\n", c.args[0], done)
	return nil
}

var groupDelete = command{
	name: "group delete", usage: "NAME...", short: "delete groups; their members stay in the workspace",
	new: changesSchedules("deleted", (*client.Client).DeleteGroup),
}
