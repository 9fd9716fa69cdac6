package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/web/client"
)

var scheduleList = command{
	name: "schedule list", usage: "[--path START]", short: "list schedules with their next tick and last run",
	new: func(c *call) func(context.Context) error {
		var start, script string
		var enabled bool
		var limit int
		c.connects()
		c.flags.StringVar(&start, "path", "", "only paths that begin with `START`")
		c.flags.StringVar(&script, "script", "", "only of the script at this `path`")
		c.flags.BoolVar(&enabled, "enabled", false, "only those that are switched on")
		c.flags.IntVar(&limit, "limit", 100, "at most so many")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			q, err := filter(map[string]string{"path_start": start, "path": script}, limit)
			if err != nil {
				return err
			}
			if enabled {
				q.Set("enabled", "true")
			}
			list, err := cl.Schedules(ctx, q)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for i := range list {
				s := &list[i]
				rows = append(rows, []string{s.Path, s.Cron, s.Timezone, s.ScriptPath, c.next(&s.Schedule), lastRun(s.Jobs)})
			}
			c.table("there are no such schedules; make one with millrace schedule create PATH --cron EXPRESSION --script PATH",
				[]string{"PATH", "CRON", "ZONE", "RUNS", "NEXT", "LAST"}, rows)
			return nil
		})
	},
}

// next says when a schedule fires next, or why it does not.
func (c *call) next(s *client.Schedule) string {
	switch {
	case s.Error != "":
		return "off: " + firstLine(s.Error)
	case !s.Enabled:
		return "off"
	case s.NextAt != nil:
		text := moment(*s.NextAt) + " (" + c.relative(*s.NextAt) + ")"
		if c.paused(s) {
			text += ", paused"
		}
		return text
	case c.paused(s):
		return "paused until " + moment(*s.PausedUntil)
	}
	return "never"
}

func (c *call) paused(s *client.Schedule) bool {
	return s.PausedUntil != nil && s.PausedUntil.After(c.now())
}

func lastRun(runs []client.ScheduleRun) string {
	if len(runs) == 0 {
		return ""
	}
	state := "failure"
	if runs[0].Success {
		state = "success"
	}
	return state + ", " + millis(runs[0].DurationMS)
}

var scheduleGet = command{
	name: "schedule get", usage: "PATH", short: "show a schedule",
	new: func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if c.json {
				raw, err := cl.RawSchedule(ctx, c.args[0])
				return c.jsonOr(err, raw)
			}
			s, err := cl.Schedule(ctx, c.args[0])
			if err != nil {
				return err
			}
			c.describeSchedule(s)
			return nil
		}, "PATH")
	},
}

func (c *call) describeSchedule(s *client.Schedule) {
	line := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(c.stdout, "%-12s %s\n", name, text)
		}
	}
	line("schedule", "%s", s.Path)
	line("summary", "%s", s.Summary)
	line("description", "%s", strings.ReplaceAll(s.Description, "\n", "\n             "))
	line("cron", "%s (%s)", s.Cron, s.Timezone)
	line("next", "%s", c.next(s))
	line("runs", "%s as %s", s.ScriptPath, s.PermissionedAs)
	line("arguments", "%s", s.Args)
	line("tag", "%s", s.Tag)
	line("missed", "%s", or(s.Missed, "coalesce"))
	overlap := or(s.Overlap, "allow")
	if s.NoFlowOverlap {
		overlap = "skip"
	}
	line("overlap", "%s", overlap)
	line("calendars", "%s", strings.Join(s.Calendars, ", "))
	if s.CatchUpLimit > 0 {
		line("catches up", "%d ticks at most", s.CatchUpLimit)
	}
	if s.GraceS > 0 {
		line("grace", "%g s", s.GraceS)
	}
	handler := func(name, path, kind string, times float64) {
		if path != "" && times > 1 {
			path += fmt.Sprintf(" after %g %s in a row", times, kind)
		}
		line(name, "%s", path)
	}
	handler("on failure", s.OnFailure, "failures", s.OnFailureTimes)
	handler("on recovery", s.OnRecovery, "successes", s.OnRecoveryTimes)
	handler("on success", s.OnSuccess, "", 0)
	line("edited", "%s by %s", moment(s.EditedAt), s.EditedBy)
}

func or(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

var scheduleDelete = command{
	name: "schedule delete", usage: "PATH...", short: "delete schedules and their ledgers; their jobs stay",
	new: changesSchedules("deleted", (*client.Client).DeleteSchedule),
}

var scheduleEnable = command{
	name: "schedule enable", usage: "PATH...", short: "switch schedules on",
	new: changesSchedules("enabled", func(cl *client.Client, ctx context.Context, path string) error {
		return cl.EnableSchedule(ctx, path, true)
	}),
}

var scheduleDisable = command{
	name: "schedule disable", usage: "PATH...", short: "switch schedules off",
	new: changesSchedules("disabled", func(cl *client.Client, ctx context.Context, path string) error {
		return cl.EnableSchedule(ctx, path, false)
	}),
}

var scheduleResume = command{
	name: "schedule resume", usage: "PATH...", short: "end the pause of schedules",
	new: changesSchedules("resumed", func(cl *client.Client, ctx context.Context, path string) error {
		return cl.PauseSchedule(ctx, path, nil)
	}),
}

// changesSchedules makes a command that does one thing to every path.
func changesSchedules(done string, do func(*client.Client, context.Context, string) error) func(*call) func(context.Context) error {
	return func(c *call) func(context.Context) error {
		c.connects()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			for _, path := range c.args {
				if err := do(cl, ctx, path); err != nil {
					return err
				}
				if !c.json {
					fmt.Fprintf(c.stdout, "%s is %s\n", path, done)
				}
			}
			if c.json {
				return c.printJSON(map[string][]string{done: c.args})
			}
			return nil
		}, "PATH...")
	}
}

var schedulePause = command{
	name: "schedule pause", usage: "PATH --until TIME", short: "fire no ticks until a moment",
	long: "\nmillrace schedule resume PATH ends a pause. What happens to the ticks in between is decided by --missed of the schedule.",
	new: func(c *call) func(context.Context) error {
		var until string
		c.connects()
		c.flags.StringVar(&until, "until", "", momentHelp)
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if until == "" {
				return wrongUsage("--until is missing: for how long?")
			}
			t, err := c.when("--until", until)
			if err != nil {
				return err
			}
			if !t.After(c.now()) {
				return wrongUsage("--until %s lies in the past", until)
			}
			t = t.UTC().Truncate(time.Second)
			if err := cl.PauseSchedule(ctx, c.args[0], &t); err != nil || c.json {
				return c.jsonOr(err, map[string]any{"path": c.args[0], "paused_until": t})
			}
			fmt.Fprintf(c.stdout, "%s is paused until %s (%s)\n", c.args[0], moment(t), c.relative(t))
			return nil
		}, "PATH")
	},
}

var scheduleRun = command{
	name: "schedule run", usage: "PATH [--wait]", short: "run what a schedule runs now, beside its ticks",
	new: func(c *call) func(context.Context) error {
		var wait bool
		c.connects()
		c.flags.BoolVar(&wait, "wait", false, "show its log and its result")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			id, err := cl.RunSchedule(ctx, c.args[0])
			switch {
			case err != nil:
				return err
			case wait:
				return c.await(ctx, cl, id)
			}
			return c.printID(id)
		}, "PATH")
	},
}
