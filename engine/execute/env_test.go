package execute

import (
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
)

func TestScheduleEnv(t *testing.T) {
	env := Env("http://localhost", func(*engine.Job) string { return "token" })
	tick := time.Date(2026, 5, 4, 14, 0, 0, 0, time.FixedZone("", 7200))
	for _, c := range []struct {
		job       engine.Job
		path, due string
	}{
		{engine.Job{Trigger: "schedule", TriggerPath: "f/a/b", ScheduledFor: tick, CreatedAt: tick.Add(time.Hour)}, "f/a/b", "2026-05-04T12:00:00Z"},
		{engine.Job{Trigger: "schedule_handler", TriggerPath: "f/a/b", CreatedAt: tick}, "", "2026-05-04T12:00:00Z"},
		{engine.Job{Trigger: "api", CreatedAt: tick}, "", "2026-05-04T12:00:00Z"},
	} {
		got := env(&c.job)
		path, _ := got.Get("WM_SCHEDULE_PATH")
		if due, _ := got.Get("WM_SCHEDULED_FOR"); path != c.path || due != c.due {
			t.Errorf("%s: %q %q", c.job.Trigger, path, due)
		}
	}
}
