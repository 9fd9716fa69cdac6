package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/millrace/millrace/web/client"
)

// scheduleFlags are the fields of a schedule on the command line. set collects what was given, by the field's name.
type scheduleFlags struct {
	set map[string]any
}

// scheduleFields registers the flags of create and update.
func (c *call) scheduleFields() *scheduleFlags {
	f := &scheduleFlags{set: map[string]any{}}
	text := func(flag, field, help string) {
		c.flags.Func(flag, help, func(s string) error { f.set[field] = s; return nil })
	}
	text("cron", "schedule", "`expression`: '0 0 3 * * *' (seconds first), '0 3 * * *', @daily")
	text("timezone", "timezone", "`zone` of the cron expression, as Europe/Paris; UTC unless told")
	c.flags.Func("script", "`path` of the script to run", func(s string) error { f.set["script_path"], f.set["is_flow"] = s, false; return nil })
	c.flags.Func("flow", "`path` of the flow to run", func(s string) error { f.set["script_path"], f.set["is_flow"] = s, true; return nil })
	text("summary", "summary", "what it does, in one `line`")
	text("description", "description", "`text` about it")
	text("tag", "tag", "`tag` of the workers that run it")
	text("missed", "missed", "ticks that nobody could fire: `skip`, coalesce (one run for all; usual) or catch_up")
	text("overlap", "overlap", "a tick while the run of an earlier one goes on: `allow` (usual), skip, queue or coalesce")
	text("on-failure", "on_failure", "script to run after failures, as `script/f/ops/alert`")
	text("on-recovery", "on_recovery", "script to run after the first success that follows")
	text("on-success", "on_success", "script to run after successes")
	c.flags.Func("args", "arguments: `JSON` object, @FILE, or - for standard input", func(s string) error {
		args, err := c.arguments(s)
		if errors.As(err, new(*usageError)) {
			return errors.New("it is no JSON object; write '{\"name\": \"value\"}' with single quotes around it")
		}
		f.set["args"] = args
		return err
	})
	c.flags.Func("on-failure-times", "only after so `many` failures in a row", func(s string) error {
		return f.number("on_failure_times", s)
	})
	c.flags.Func("catch-up-limit", "run so `many` missed ticks at most (100)", func(s string) error {
		return f.number("catch_up_limit", s)
	})
	c.flags.Func("grace", "how late a tick may be and still count as on time, as `30s` (1s)", func(s string) error {
		d, err := time.ParseDuration(s)
		f.set["grace_s"] = d.Seconds()
		return err
	})
	c.flags.Func("calendar", "`path` of a calendar whose days have no ticks; may be repeated, '' is none", func(s string) error {
		list, _ := f.set["calendars"].([]string)
		if list == nil {
			list = []string{}
		}
		if s != "" {
			list = append(list, s)
		}
		f.set["calendars"] = list
		return nil
	})
	return f
}

func (f *scheduleFlags) number(field, s string) error {
	var n int
	if err := json.Unmarshal([]byte(s), &n); err != nil || n < 1 {
		return errors.New("must be a whole number from 1 on")
	}
	f.set[field] = n
	return nil
}

var scheduleCreate = command{
	name: "schedule create", usage: "PATH --cron EXPRESSION --script|--flow PATH", short: "make a schedule",
	long: `
It is switched on at once, unless --disabled is given.

  millrace schedule create f/ops/nightly --cron '0 0 3 * * *' --timezone Europe/Paris --script f/ops/clean_up --args '{"days": 30}'`,
	new: func(c *call) func(context.Context) error {
		var disabled bool
		c.connects()
		f := c.scheduleFields()
		c.flags.BoolVar(&disabled, "disabled", false, "do not switch it on yet")
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if f.set["schedule"] == nil || f.set["script_path"] == nil {
				return wrongUsage("--cron and --script or --flow must be given")
			}
			f.set["path"], f.set["enabled"] = c.args[0], !disabled
			if f.set["timezone"] == nil {
				f.set["timezone"] = "UTC"
			}
			if err := cl.CreateSchedule(ctx, f.set); err != nil {
				return err
			}
			return c.showScheduled(ctx, cl, c.args[0], "created")
		}, "PATH")
	},
}

var scheduleUpdate = command{
	name: "schedule update", usage: "PATH [--cron EXPRESSION] [...]", short: "change some fields of a schedule",
	long: "\nWhat is not given stays as it is.",
	new: func(c *call) func(context.Context) error {
		c.connects()
		f := c.scheduleFields()
		return c.asking(func(ctx context.Context, cl *client.Client) error {
			if len(f.set) == 0 {
				return wrongUsage("nothing to change: give --cron, --script, --args or another flag")
			}
			raw, err := cl.RawSchedule(ctx, c.args[0])
			if err != nil {
				return err
			}
			if f.set["overlap"] != nil {
				delete(raw, "no_flow_overlap") // Windmill's way to say overlap skip
			}
			for field, value := range f.set {
				if raw[field], err = json.Marshal(value); err != nil {
					return fmt.Errorf("encode %s: %w", field, err)
				}
			}
			// State that somebody else may change meanwhile is left to them.
			delete(raw, "enabled")
			delete(raw, "paused_until")
			if err := cl.UpdateSchedule(ctx, c.args[0], raw); err != nil {
				return err
			}
			return c.showScheduled(ctx, cl, c.args[0], "updated")
		}, "PATH")
	},
}

// showScheduled says what was done and when the schedule fires next.
func (c *call) showScheduled(ctx context.Context, cl *client.Client, path, done string) error {
	if c.json {
		raw, err := cl.RawSchedule(ctx, path)
		return c.jsonOr(err, raw)
	}
	s, err := cl.Schedule(ctx, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s is %s; next: %s\n", path, done, c.next(s))
	return nil
}

var schedulePush = command{
	name: "schedule push", usage: "FILE [PATH]", short: "make or replace a schedule from a file",
	long: `
The file is YAML or JSON with Windmill's fields, as in its *.schedule.yaml files. Without PATH it comes from the file's name:
f/ops/nightly.schedule.yaml is f/ops/nightly. A schedule that is as the file says is left alone.`,
	new: func(c *call) func(context.Context) error {
		c.connects()
		return func(ctx context.Context) error {
			if len(c.args) == 1 {
				path, err := schedulePath(c.args[0])
				if err != nil {
					return err
				}
				c.args = append(c.args, path)
			}
			if err := c.want("FILE", "PATH"); err != nil {
				return err
			}
			file, path := c.args[0], c.args[1]
			want, err := readSchedule(file, path)
			if err != nil {
				return err
			}
			return c.asking(func(ctx context.Context, cl *client.Client) error { return c.pushSchedule(ctx, cl, path, want) }, "FILE", "PATH")(ctx)
		}
	},
}

// schedulePath finds the path in the name of a file.
func schedulePath(file string) (string, error) {
	name := strings.TrimPrefix(filepath.ToSlash(filepath.Clean(file)), "./")
	for _, ending := range []string{".schedule.yaml", ".schedule.yml", ".schedule.json"} {
		if path, ok := strings.CutSuffix(name, ending); ok && (strings.HasPrefix(path, "f/") || strings.HasPrefix(path, "u/")) {
			return path, nil
		}
	}
	return "", wrongUsage("PATH is missing, and the file's name is not like f/ops/nightly.schedule.yaml")
}

// readSchedule reads the schedule of a path from a file.
func readSchedule(file, path string) (map[string]json.RawMessage, error) {
	body, err := readObject(file)
	if err != nil {
		return nil, err
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(body, &want); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var inside string
	if raw := want["path"]; raw != nil && (json.Unmarshal(raw, &inside) != nil || inside != path) {
		return nil, wrongUsage("%s says that its path is %s, not %s", file, raw, path)
	}
	delete(want, "has_permissioned_as") // of Windmill's command line, for itself
	return want, nil
}

func (c *call) pushSchedule(ctx context.Context, cl *client.Client, path string, want map[string]json.RawMessage) error {
	have, err := cl.RawSchedule(ctx, path)
	switch {
	case client.IsNotFound(err):
		if want["path"], err = json.Marshal(path); err != nil {
			return err
		}
		if err := cl.CreateSchedule(ctx, want); err != nil {
			return err
		}
		return c.showScheduled(ctx, cl, path, "created")
	case err != nil:
		return err
	case within(want, have):
		return c.showScheduled(ctx, cl, path, "as the file says")
	}
	if err := cl.UpdateSchedule(ctx, path, want); err != nil {
		return err
	}
	return c.showScheduled(ctx, cl, path, "updated")
}

// within tells whether have has every field of want.
func within(want, have map[string]json.RawMessage) bool {
	for field, w := range want {
		h, ok := have[field]
		var a, b any
		if !ok || (!bytes.Equal(w, h) && (json.Unmarshal(w, &a) != nil || json.Unmarshal(h, &b) != nil || !reflect.DeepEqual(a, b))) {
			return false
		}
	}
	return true
}
