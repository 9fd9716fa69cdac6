package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/web/client"
)

var scheduleTicks = command{
	name: "schedule ticks", usage: "PATH [--state STATE]", short: "show what became of a schedule's ticks, newest first",
	long: `
States: due (to be fired), fired (its job is queued or runs), done, missed (nobody could fire it), skipped (an earlier run went
on, or dynamic_skip said so), coalesced (another tick's run stands for it), excluded (on a day of a calendar), failed (its job could not be made).`,
	new: func(c *call) func(context.Context) error {
		var states, after, before string
		var limit int
		c.connects()
		c.flags.StringVar(&states, "state", "", "only in this `state`; several with commas")
		c.flags.StringVar(&after, "after", "", momentHelp)
		c.flags.StringVar(&before, "before", "", momentHelp)
		c.flags.IntVar(&limit, "limit", 30, "at most so many")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			set := map[string]string{"states": states}
			for name, s := range map[string]string{"after": after, "before": before} {
				if s == "" {
					continue
				}
				t, err := c.when("--"+name, s)
				if err != nil {
					return err
				}
				set[name] = t.UTC().Format(time.RFC3339Nano)
			}
			q, err := filter(set, limit)
			if err != nil {
				return err
			}
			list, err := cl.Ticks(ctx, c.args[0], q)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(list))
			}
			var rows [][]string
			for i := range list {
				rows = append(rows, tickRow(&list[i]))
			}
			c.table("there are no such ticks", []string{"TICK", "STATE", "LATE", "RUN", "JOB", "WHY"}, rows)
			return nil
		}, "PATH")
	},
}

func tickRow(t *client.Tick) []string {
	state, late, run, job := t.State, "", "", ""
	if t.Count > 1 {
		state += fmt.Sprintf(" (%d)", t.Count)
	}
	if t.DriftMS != nil {
		late = millis(*t.DriftMS)
	}
	if t.Success != nil {
		if run = "failure"; *t.Success {
			run = "success"
		}
	}
	if t.Attempts > 1 {
		run = strings.TrimSpace(fmt.Sprintf("%s (%d attempts)", run, t.Attempts))
	}
	if t.JobID != nil {
		job = t.JobID.String()
	}
	return []string{moment(t.At), state, late, run, job, firstLine(t.Error)}
}

var schedulePreview = command{
	name: "schedule preview", usage: "CRON|PATH [--timezone ZONE] [-n 10]", short: "show the next ticks of an expression or of a schedule",
	long: `
Times are shown in the schedule's zone.

  millrace schedule preview '0 0 3 * * mon-fri' --timezone Europe/Paris -n 5`,
	new: func(c *call) func(context.Context) error {
		var p client.SchedulePreview
		c.connects()
		c.flags.StringVar(&p.Timezone, "timezone", "", "`zone`, as Europe/Paris; UTC unless told")
		c.flags.IntVar(&p.N, "n", 10, "so many")
		c.flags.Func("calendar", "`path` of a calendar whose days have no ticks; may be repeated", func(s string) error {
			p.Calendars = append(p.Calendars, s)
			return nil
		})
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if p.N < 1 || p.N > maxRows {
				return wrongUsage("-n must be from 1 to %d", maxRows)
			}
			p.Cron = c.args[0]
			if strings.HasPrefix(p.Cron, "f/") || strings.HasPrefix(p.Cron, "u/") {
				s, err := cl.Schedule(ctx, p.Cron)
				if err != nil {
					return err
				}
				p.Cron, p.CronVersion, p.Timezone, p.Calendars = s.Cron, s.CronVersion, or(p.Timezone, s.Timezone), append(p.Calendars, s.Calendars...)
			}
			ticks, err := cl.PreviewSchedule(ctx, p)
			if err != nil || c.json {
				return c.jsonOr(err, orEmpty(ticks))
			}
			zone, err := time.LoadLocation(p.Timezone)
			if err != nil {
				zone = time.UTC // unknown on this host
			}
			var rows [][]string
			for _, t := range ticks {
				rows = append(rows, []string{t.In(zone).Format("Mon 2006-01-02 15:04:05 MST"), c.relative(t)})
			}
			c.table("there are no further ticks", []string{"TICK", "WHEN"}, rows)
			return nil
		}, "CRON")
	},
}

var scheduleBackfill = command{
	name: "schedule backfill", usage: "PATH --from TIME [--to TIME]", short: "run the past ticks of a range that have not been fired",
	long: "\nWithout --to the range ends now. Ticks that are in the ledger (millrace schedule ticks) are left alone.",
	new: func(c *call) func(context.Context) error {
		var from, to string
		c.connects()
		c.flags.StringVar(&from, "from", "", momentHelp)
		c.flags.StringVar(&to, "to", "", momentHelp)
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if from == "" {
				return wrongUsage("--from is missing")
			}
			start, err := c.when("--from", from)
			if err != nil {
				return err
			}
			var end time.Time // the daemon's now
			if to != "" {
				if end, err = c.when("--to", to); err != nil {
					return err
				}
				if end.Before(start) {
					return wrongUsage("--from %s comes after --to %s", from, to)
				}
			}
			n, err := cl.BackfillSchedule(ctx, c.args[0], start, end)
			if err != nil || c.json {
				return c.jsonOr(err, map[string]int{"ticks": n})
			}
			fmt.Fprintf(c.stdout, "%d ticks of %s are due now\n", n, c.args[0])
			return nil
		}, "PATH")
	},
}
