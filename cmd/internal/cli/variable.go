package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/millrace/millrace/web/client"
)

var variableSet = command{
	name: "variable set", usage: "PATH [VALUE] [--secret]", short: "make or change a variable",
	long: `
Without VALUE, or with "-", the value is read from standard input, without a last line break. A secret is only taken from there,
because other users of this machine see the arguments of programs. Scripts find a variable by a reference in their arguments:

  printf %s "$PASSWORD" | millrace variable set f/db/password --secret
  millrace run f/db/report -d '{"password": "$var:f/db/password"}'`,
	new: func(c *call) func(context.Context) error {
		var secret bool
		var description string
		c.connects()
		c.flags.BoolVar(&secret, "secret", false, "stored encrypted, and not shown in lists")
		c.flags.StringVar(&description, "description", "", "`text` about it")
		return func(ctx context.Context) error {
			names := []string{"PATH", "VALUE"}
			if err := c.want(names[:max(1, min(len(c.args), 2))]...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			return c.explain(c.setVariable(ctx, cl, secret, description))
		}
	},
}

func (c *call) setVariable(ctx context.Context, cl *client.Client, secret bool, description string) error {
	path := c.args[0]
	value, err := c.variableValue(c.args[1:], secret)
	if err != nil {
		return err
	}
	there, err := cl.VariableExists(ctx, path)
	if err != nil {
		return err
	}
	if there {
		e := client.EditVariable{Value: &value}
		c.flags.Visit(func(f *flag.Flag) { // what is not given stays
			switch f.Name {
			case "secret":
				e.IsSecret = &secret
			case "description":
				e.Description = &description
			}
		})
		err = cl.UpdateVariable(ctx, path, e)
	} else {
		err = cl.CreateVariable(ctx, client.NewVariable{Path: path, Value: value, IsSecret: secret, Description: description})
	}
	if err != nil || c.json {
		return c.jsonOr(err, map[string]string{"path": path})
	}
	fmt.Fprintf(c.stdout, "%s is stored\n", path)
	return nil
}

func (c *call) variableValue(args []string, secret bool) (string, error) {
	if len(args) > 0 && args[0] != "-" {
		if secret {
			return "", wrongUsage("give the value of a secret on standard input, not as an argument")
		}
		return args[0], nil
	}
	b, err := io.ReadAll(io.LimitReader(c.stdin, 2<<20))
	if err != nil {
		return "", fmt.Errorf("read the value: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

var variableGet = command{
	name: "variable get", usage: "PATH", short: "print the value of a variable",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			v, err := cl.Variable(ctx, c.args[0])
			if err != nil || c.json {
				return c.jsonOr(err, v)
			}
			fmt.Fprintln(c.stdout, *v.Value)
			return nil
		}, "PATH")
	},
}

var variableList = command{
	name: "variable list", short: "list variables",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Variables(ctx)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, v := range list {
				value := "(secret)"
				if v.Value != nil {
					value = firstLine(*v.Value)
				}
				rows = append(rows, []string{v.Path, value, moment(v.EditedAt), v.EditedBy, firstLine(v.Description)})
			}
			c.table("there are no variables; make one with millrace variable set PATH VALUE",
				[]string{"PATH", "VALUE", "EDITED", "BY", "DESCRIPTION"}, rows)
			return nil
		})
	},
}

var variableDelete = command{
	name: "variable delete", usage: "PATH...", short: "delete variables",
	new: changesSchedules("deleted", (*client.Client).DeleteVariable),
}
