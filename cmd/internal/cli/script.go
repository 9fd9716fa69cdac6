package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/millrace/millrace/cmd/internal/push"
	"github.com/millrace/millrace/web/client"
)

var scriptPush = command{
	name: "script push", usage: "FILE PATH", short: "deploy a file as a script",
	long: `
The language comes from the file's ending. Deploying ends when the script can run: its dependencies are resolved by a job
of the daemon whose log is shown. A file that has not changed makes no new version.

Further fields, such as limits, are read from hello.script.yaml beside hello.py if there is such a file, as Windmill's CLI
writes it. Flags win over what it says.

  millrace script push hello.py f/demo/hello`,
	new: newScriptPush,
}

func newScriptPush(c *call) func(context.Context) error {
	var s client.NewScript
	var timeout time.Duration
	c.connects()
	c.flags.StringVar(&s.Language, "language", "", "`language` when the file's ending does not tell")
	c.flags.StringVar(&s.Summary, "summary", "", "what it does, in one `line`")
	c.flags.StringVar(&s.Description, "description", "", "`text` about it")
	c.flags.StringVar(&s.Message, "message", "", "`text` about this version")
	c.flags.StringVar(&s.Tag, "tag", "", "`tag` of the workers that run it")
	c.flags.StringVar(&s.Network, "network", "", "`none`, egress or host; none given: what the daemon's --network-default says")
	c.flags.DurationVar(&timeout, "timeout", 0, "end its jobs after this `time`, in whole seconds")
	return func(ctx context.Context) error {
		if err := c.want("FILE", "PATH"); err != nil {
			return err
		}
		file := c.args[0]
		var err error
		if s.Language, err = c.languageOf(file, s.Language); err != nil {
			return err
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s.Path, s.Content, s.AutoParent = c.args[1], string(source), true
		s.Timeout = int64((timeout + time.Second - 1) / time.Second)
		if err := addBeside(file, &s); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		hash, err := push.Script(ctx, cl, s, c.stderr)
		if err != nil {
			return c.explain(err)
		}
		if c.json {
			return c.printJSON(map[string]string{"path": s.Path, "hash": hash, "language": s.Language})
		}
		fmt.Fprintf(c.stdout, "%s is deployed as %s (%s)\n", s.Path, hash, s.Language)
		return nil
	}
}

var scriptList = command{
	name: "script list", usage: "[--path START]", short: "list scripts",
	new: func(c *call) func(context.Context) error {
		var start, language string
		var archived bool
		var limit int
		c.connects()
		c.flags.StringVar(&start, "path", "", "only paths that begin with `START`")
		c.flags.StringVar(&language, "language", "", "only this `language`")
		c.flags.BoolVar(&archived, "archived", false, "archived ones too")
		c.flags.IntVar(&limit, "limit", 100, "at most so many")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			q, err := filter(map[string]string{"path_start": start, "languages": language}, limit)
			if err != nil {
				return err
			}
			if archived {
				q.Set("show_archived", "true")
			}
			list, err := cl.Scripts(ctx, q)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, s := range list {
				rows = append(rows, []string{s.Path, s.Language, s.Hash, moment(s.CreatedAt), s.CreatedBy, firstLine(s.Summary)})
			}
			c.table("there are no scripts; deploy one with millrace script push FILE PATH",
				[]string{"PATH", "LANGUAGE", "VERSION", "DEPLOYED", "BY", "SUMMARY"}, rows)
			return nil
		})
	},
}

var scriptGet = command{
	name: "script get", usage: "PATH|HASH", short: "print a script's source",
	long: "\nThe source goes to standard output, what else is known of the version to standard error.",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			get := cl.Script
			if len(c.args[0]) == 16 {
				get = cl.ScriptByHash
			}
			s, err := get(ctx, c.args[0])
			if err != nil || c.json {
				return c.jsonOr(err, s)
			}
			fmt.Fprintf(c.stderr, "%s, version %s, %s, deployed %s by %s\n", s.Path, s.Hash, s.Language, moment(s.CreatedAt), s.CreatedBy)
			if s.LockErrorLogs != "" {
				fmt.Fprintf(c.stderr, "its dependencies could not be resolved:\n%s\n", s.LockErrorLogs)
			}
			_, err = io.WriteString(c.stdout, s.Content)
			return err
		}, "PATH")
	},
}

var scriptHistory = command{
	name: "script history", usage: "PATH", short: "list the versions of a script",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.ScriptHistory(ctx, c.args[0])
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, v := range list {
				rows = append(rows, []string{v.Hash, moment(v.CreatedAt), v.CreatedBy, firstLine(v.Message)})
			}
			c.table("there are no versions of "+c.args[0], []string{"VERSION", "DEPLOYED", "BY", "MESSAGE"}, rows)
			return nil
		}, "PATH")
	},
}

var scriptArchive = command{
	name: "script archive", usage: "PATH", short: "archive a script; its versions and jobs stay",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if err := cl.ArchiveScript(ctx, c.args[0]); err != nil || c.json {
				return c.jsonOr(err, map[string]string{"archived": c.args[0]})
			}
			fmt.Fprintf(c.stdout, "%s is archived; pushing to the path brings it back\n", c.args[0])
			return nil
		}, "PATH")
	},
}

// asking wraps what a command does with checking its arguments, connecting and explaining errors.
func (c *call) asking(do func(context.Context, *client.Client) error, names ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.want(names...); err != nil {
			return err
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		return c.explain(do(ctx, cl))
	}
}

// jsonOr returns err, or prints v when there is none.
func (c *call) jsonOr(err error, v any) error {
	if err != nil {
		return err
	}
	return c.printJSON(v)
}

// orEmpty keeps an empty list from being printed as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// maxRows is the largest page of the API.
const maxRows = 1000

// filter makes query parameters of what is set.
func filter(set map[string]string, limit int) (url.Values, error) {
	if limit < 1 || limit > maxRows {
		return nil, wrongUsage("--limit must be from 1 to %d", maxRows)
	}
	q := url.Values{"per_page": {strconv.Itoa(limit)}}
	for name, value := range set {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q, nil
}
