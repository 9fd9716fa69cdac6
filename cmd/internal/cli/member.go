package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/web/client"
)

var memberList = command{
	name: "member list", short: "list the members of the workspace",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Members(ctx)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, m := range list {
				role := "developer"
				if m.IsAdmin {
					role = "admin"
				}
				rows = append(rows, []string{m.Username, m.Email, role, strings.Join(m.Groups, " ")})
			}
			c.table("the workspace has no members", []string{"USER", "EMAIL", "ROLE", "GROUPS"}, rows)
			return nil
		})
	},
}

var memberAdd = command{
	name: "member add", usage: "EMAIL [--username NAME] [--admin]", short: "take somebody into the workspace",
	long: `
Members may read and run everything in the workspace and write below u/<their name>/. They come with a token, which an administrator makes:

  millrace member add ann@example.org
  millrace token create --for ann@example.org`,
	new: func(c *call) func(context.Context) error {
		var name string
		var admin bool
		c.connects()
		c.flags.StringVar(&name, "username", "", "their `name`; unless told, what stands before the @")
		c.flags.BoolVar(&admin, "admin", false, "they administer the workspace")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			n := client.NewMember{Email: c.args[0], Username: name, IsAdmin: admin}
			if n.Username == "" {
				n.Username, _, _ = strings.Cut(n.Email, "@")
			}
			if err := cl.AddMember(ctx, n); err != nil || c.json {
				return c.jsonOr(err, n)
			}
			fmt.Fprintf(c.stdout, "%s is a member\n", n.Username)
			return nil
		}, "EMAIL")
	},
}

var memberRemove = command{
	name: "member remove", usage: "USER...", short: "take people out of the workspace, with their tokens for it",
	new: changesSchedules("removed", (*client.Client).RemoveMember),
}
