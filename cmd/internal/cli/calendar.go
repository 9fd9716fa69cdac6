package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/web/client"
)

var calendarPut = command{
	name: "calendar put", usage: "PATH [--day DAY...] [--weekday NAME...]", short: "make or replace a calendar of days without ticks",
	long: `
A day is 2026-12-25, a range 2026-12-24/2027-01-01 (both ends included), or *-12-25 (every year).

  millrace calendar put f/ops/holidays --day '*-12-25' --day 2026-12-28/2027-01-03 --weekday sat --weekday sun
  millrace schedule update f/ops/nightly --calendar f/ops/holidays`,
	new: func(c *call) func(context.Context) error {
		var n client.NewCalendar
		c.connects()
		c.flags.StringVar(&n.Summary, "summary", "", "what it is, in one `line`")
		several := func(name, help string, into *[]string) {
			c.flags.Func(name, help, func(s string) error {
				for part := range strings.SplitSeq(s, ",") {
					*into = append(*into, strings.TrimSpace(part))
				}
				return nil
			})
		}
		several("day", "`day`, range of days or yearly day; may be repeated, or several with commas", &n.Days)
		several("weekday", "`name` as sat; may be repeated, or several with commas", &n.Weekdays)
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if len(n.Days)+len(n.Weekdays) == 0 {
				return wrongUsage("a calendar needs --day or --weekday")
			}
			n.Path = c.args[0]
			if err := cl.PutCalendar(ctx, n); err != nil {
				return err
			}
			if c.json {
				v, err := cl.Calendar(ctx, n.Path)
				return c.jsonOr(err, v)
			}
			fmt.Fprintf(c.stdout, "%s is stored\n", n.Path)
			return nil
		}, "PATH")
	},
}

var calendarList = command{
	name: "calendar list", short: "list calendars",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			list, err := cl.Calendars(ctx)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for _, v := range list {
				rows = append(rows, []string{v.Path, fmt.Sprint(len(v.Days)), strings.Join(v.Weekdays, " "), moment(v.EditedAt), v.EditedBy, firstLine(v.Summary)})
			}
			c.table("there are no calendars; make one with millrace calendar put PATH --day DAY",
				[]string{"PATH", "DAYS", "WEEKDAYS", "EDITED", "BY", "SUMMARY"}, rows)
			return nil
		})
	},
}

var calendarGet = command{
	name: "calendar get", usage: "PATH", short: "show the days of a calendar",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			v, err := cl.Calendar(ctx, c.args[0])
			if err != nil || c.json {
				return c.jsonOr(err, v)
			}
			for _, s := range append(v.Days, v.Weekdays...) {
				fmt.Fprintln(c.stdout, s)
			}
			return nil
		}, "PATH")
	},
}

var calendarDelete = command{
	name: "calendar delete", usage: "PATH...", short: "delete calendars that no schedule uses",
	new: changesSchedules("deleted", (*client.Client).DeleteCalendar),
}
