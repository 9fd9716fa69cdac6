package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// A whole daemon is killed while schedules fire every second or two, and stays away for a while. What their runs write down outside
// of it and the ledger of ticks are compared with the clock.
var scheduleKill = Fault{
	Name: "schedule-kill", About: "kill -9 of millrace serve, which stays away for a while, under schedules of every policy", Share: 15,
	Run: func(ctx context.Context, s *Stage) error {
		d, c, err := s.asked(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		l := &tickLoad{log: filepath.Join(s.Dir, "ticks.log")}
		if err := errors.Join(os.WriteFile(l.log, nil, 0o666), os.Chmod(l.log, 0o666)); err != nil { //nolint:gosec // runs are whoever the daemon is
			return err
		}
		s.verdict = func(ctx context.Context) (*check.Result, error) { return s.judgeTicks(ctx, l) }
		if err := l.schedule(ctx, c); err != nil {
			return err
		}
		return s.hurtTicks(ctx, d, l)
	},
}

// tickAway is how long a killed daemon stays away at most: ticks are missed, and others are not.
const tickAway = 2500 * time.Millisecond

// schedule is one that the load has made.
type schedule struct {
	path   string
	every  int64 // seconds
	missed string
	made   int64 // Unix time at which it was there for sure
}

// tickLoad is what was asked for.
type tickLoad struct {
	log  string
	made []schedule
	end  int64 // ticks up to this Unix time are judged
}

// tickScript writes down which tick it runs for.
const tickScript = `{"path":"f/chaos/tick","language":"bash","content":"echo \"$WM_SCHEDULE_PATH $WM_SCHEDULED_FOR\" >> LOG\n"}`

// schedule makes two schedules of each kind.
func (l *tickLoad) schedule(ctx context.Context, c *client.Client) error {
	var script wire.NewScript
	if err := json.Unmarshal([]byte(strings.ReplaceAll(tickScript, "LOG", l.log)), &script); err != nil {
		return err
	}
	if _, err := c.CreateScript(ctx, script, false); err != nil {
		return err
	}
	on := true
	for i, kind := range []struct {
		missed, overlap string
		every           int64
	}{
		{"catch_up", "allow", 1}, {"catch_up", "queue", 2}, {"coalesce", "allow", 1}, {"skip", "allow", 1},
		{"catch_up", "allow", 1}, {"catch_up", "queue", 2}, {"coalesce", "coalesce", 2}, {"skip", "skip", 2},
	} {
		made := schedule{path: fmt.Sprintf("f/chaos/s%d", i), every: kind.every, missed: kind.missed}
		err := c.CreateSchedule(ctx, wire.NewSchedule{Path: made.path, Cron: fmt.Sprintf("*/%d * * * * *", kind.every), Enabled: &on,
			ScriptPath: script.Path, Missed: kind.missed, Overlap: kind.overlap, CatchUpLimit: 1000})
		if err != nil {
			return err
		}
		made.made = time.Now().Unix()
		l.made = append(l.made, made)
	}
	return nil
}

// hurtTicks kills the daemon between ticks and in the middle of some, and waits until all ticks up to the last kill are settled.
func (s *Stage) hurtTicks(ctx context.Context, d *daemon, l *tickLoad) error {
	if err := s.ticksGoOn(ctx, l, time.Now().Unix()); err != nil {
		return err
	}
	for range s.Hits {
		if err := s.moment(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		s.struck(ledger.Now())
		if err := s.shoot(d); err != nil {
			return err
		}
		if err := s.moment(ctx, tickAway); err != nil {
			return err
		}
		if err := s.serve(ctx, d); err != nil {
			return err
		}
		l.end = time.Now().Unix()
		if err := s.ticksGoOn(ctx, l, l.end); err != nil {
			return err
		}
	}
	return nil
}

// ticksGoOn waits until every schedule has a line after a moment, and none up to it that is not settled.
func (s *Stage) ticksGoOn(ctx context.Context, l *tickLoad, moment int64) error {
	at := strconv.FormatInt(moment, 10)
	sql := "select (select count(distinct path) from tick where at > to_timestamp(" + at + ")), " +
		"(select count(*) from tick where at <= to_timestamp(" + at + ") and state in ('due', 'fired'))"
	want := fmt.Sprintf("%d|0", len(l.made))
	last := ""
	err := cluster.Until(ctx, workLimit, "the ticks so far are settled", func() (bool, error) {
		text, err := s.query(ctx, sql)
		last = strings.TrimSpace(text)
		return err == nil && last == want, nil
	})
	if err != nil && ctx.Err() == nil { // the verdict names those ticks
		s.notes = append(s.notes, "ticks are not settled: schedules that went on|open ticks are "+last)
		return nil
	}
	return err
}

// tickSQL is one look at everything: lines of the ledger, and the jobs of schedules.
const tickSQL = `select concat_ws(' ', 'tick', path, extract(epoch from at)::int8, state, count, coalesce(job::text, '-'), coalesce(success::int, -1)) from tick
union all
select concat_ws(' ', 'job', s.trigger_path, j.id, coalesce(d.state, 0)) from job j join spec s on s.id = j.spec left join done d on d.id = j.id
where s.trigger = 'schedule'`

func (s *Stage) judgeTicks(ctx context.Context, l *tickLoad) (*check.Result, error) {
	text, err := s.ask(ctx, tickSQL)
	if err != nil {
		return nil, err
	}
	log, err := os.ReadFile(l.log)
	if err != nil {
		return nil, err
	}
	seen, err := readTicks(text, string(log))
	if err != nil {
		return nil, err
	}
	r := seen.compare(l.made, l.end, s.kills)
	s.notes = append(s.notes, fmt.Sprintf("%d schedules, %d ticks, %d runs began, %d of them again", len(l.made), r.Pushes, seen.lines, seen.again))
	return r, nil
}
