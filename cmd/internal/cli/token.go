package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/web/client"
)

var tokenCreate = command{
	name: "token create", usage: "[--label TEXT] [--for EMAIL]", short: "make a token for access over TCP",
	long: "\nThe token is printed once and only a hash of it is kept. It has the rights of the one who makes it,\nor with --for, which administrators have, those of a member of the workspace.",
	new: func(c *call) func(context.Context) error {
		var label, owner string
		var expires time.Duration
		var bound, plain bool
		c.connects()
		c.flags.StringVar(&label, "label", "", "`text` to know it by")
		c.flags.StringVar(&owner, "for", "", "`email` of the member whose token it is")
		c.flags.DurationVar(&expires, "expires", 0, "it ends after this `time`, as 720h; 0: never")
		c.flags.BoolVar(&bound, "bound", false, "good for the one --workspace only")
		c.flags.BoolVar(&plain, "no-admin", false, "without the rights of an administrator")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			n := client.NewToken{Label: label}
			if expires < 0 {
				return wrongUsage("--expires %v lies in the past", expires)
			}
			if expires > 0 {
				end := time.Now().Add(expires).UTC()
				n.Expiration = &end
			}
			if bound {
				n.WorkspaceID = cl.Workspace()
			}
			if plain {
				admin := false
				n.Admin = &admin
			}
			var token string
			var err error
			if owner != "" {
				if plain {
					return wrongUsage("--no-admin says nothing with --for: a member's token never has the rights of an administrator of the instance")
				}
				token, err = cl.CreateMemberToken(ctx, client.MemberToken{Label: n.Label, Expiration: n.Expiration, WorkspaceID: n.WorkspaceID, Email: owner})
			} else {
				token, err = cl.CreateToken(ctx, n)
			}
			if err != nil || c.json {
				return c.jsonOr(err, map[string]string{"token": token, "label": label})
			}
			fmt.Fprintln(c.stdout, token)
			return nil
		})
	},
}

var tokenList = command{
	name: "token list", short: "list your tokens, by their first letters",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Tokens(ctx)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, t := range list {
				scope := t.Workspace
				if scope == "" {
					scope = "all"
				}
				rows = append(rows, []string{t.Prefix, t.Label, t.Username, scope, moment(t.CreatedAt), momentOr(t.LastUsed, "never"), momentOr(t.ExpiresAt, "never")})
			}
			c.table("there are no tokens; millrace token create makes one",
				[]string{"TOKEN", "LABEL", "USER", "WORKSPACE", "MADE", "USED", "ENDS"}, rows)
			return nil
		})
	},
}

var tokenDelete = command{
	name: "token delete", usage: "TOKEN...", short: "make tokens useless, given their first letters",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			for _, prefix := range c.args {
				if err := cl.DeleteToken(ctx, prefix); err != nil {
					return err
				}
			}
			if c.json {
				return c.printJSON(map[string][]string{"deleted": c.args})
			}
			fmt.Fprintf(c.stdout, "deleted %s\n", strings.Join(c.args, ", "))
			return nil
		}, "TOKEN...")
	},
}

var versionCommand = command{
	name: "version", short: "print the version of this program and of the daemon",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return func(ctx context.Context) error {
			if err := c.want(); err != nil {
				return err
			}
			out := struct {
				Version string          `json:"version"`
				Daemon  *client.Product `json:"daemon"` // null when none answers
			}{Version: Version}
			if cl, err := c.client(); err == nil {
				defer cl.Close()
				ctx, stop := context.WithTimeout(ctx, 2*time.Second)
				defer stop()
				if p, err := cl.Version(ctx); err == nil {
					out.Daemon = p
				}
			}
			if c.json {
				return c.printJSON(out)
			}
			fmt.Fprintf(c.stdout, "millrace %s\n", out.Version)
			if out.Daemon != nil {
				fmt.Fprintf(c.stdout, "daemon   %s\n", out.Daemon.Version)
			}
			return nil
		}
	},
}
