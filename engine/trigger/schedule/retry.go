package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

const (
	maxRetries    = 1000          // further attempts of each kind
	maxRetryDelay = 6 * time.Hour // between two attempts
	maxMultiplier = 1_000_000
)

// retry is a schedule's policy for further attempts: first those after a constant delay, then those after a growing one.
type retry struct {
	constant    struct{ attempts, seconds int }
	exponential struct{ attempts, multiplier, seconds, random int } // random: percent
}

// attempts is how many follow the first at most.
func (r *retry) attempts() int { return r.constant.attempts + r.exponential.attempts }

// delay is how long to wait when so many attempts have failed; chance is in [0, 1).
func (r *retry) delay(failed int, chance float64) time.Duration {
	if failed <= r.constant.attempts {
		return time.Duration(r.constant.seconds) * time.Second
	}
	e := &r.exponential
	most := maxRetryDelay.Seconds()
	seconds := min(float64(e.multiplier)*math.Pow(float64(e.seconds), float64(failed)), most)
	seconds = min(seconds*(1+(2*chance-1)*float64(e.random)/100), most)
	return time.Duration(seconds * float64(time.Second))
}

// parseRetry reads Windmill's record of a policy; nil: none.
func parseRetry(op string, raw json.RawMessage) (*retry, error) {
	if len(raw) == 0 || isNull(raw) {
		return nil, nil
	}
	bad := func(text string, args ...any) error {
		return engine.Errorf(engine.Invalid, op, "retry: "+text, args...)
	}
	r := &retry{}
	parts, ok := object(raw)
	if !ok {
		return nil, bad(`must be an object such as {"constant": {"attempts": 3, "seconds": 60}}`)
	}
	for name, v := range parts {
		if isNull(v) {
			continue
		}
		var err error
		switch name {
		case "constant":
			err = numbers(v, map[string]number{"attempts": {&r.constant.attempts, 0, maxRetries}, "seconds": {&r.constant.seconds, 0, int(maxRetryDelay.Seconds())}})
		case "exponential":
			e := &r.exponential
			e.multiplier = 1
			err = numbers(v, map[string]number{"attempts": {&e.attempts, 0, maxRetries}, "multiplier": {&e.multiplier, 1, maxMultiplier},
				"seconds": {&e.seconds, 0, int(maxRetryDelay.Seconds())}, "random_factor": {&e.random, 0, 100}})
		case "retry_if":
			return nil, &engine.Error{Code: engine.Invalid, Op: op, Msg: "retry: there is no retry_if in this version: a schedule tries again after every failure",
				Hint: "let the script end with success where trying again is of no use"}
		default:
			return nil, bad("there is no %q; use constant and exponential", name)
		}
		if err != nil {
			return nil, bad("%s: %v", name, err)
		}
	}
	if e := &r.exponential; e.attempts > 0 && e.seconds == 0 {
		return nil, bad("exponential: seconds must be 1 or more: the delay is multiplier * seconds ^ failed attempts")
	}
	if r.attempts() == 0 {
		return nil, nil
	}
	return r, nil
}

// object decodes a JSON object; its names are taken to the letter.
func object(raw json.RawMessage) (m map[string]json.RawMessage, ok bool) {
	return m, json.Unmarshal(raw, &m) == nil && m != nil
}

// number is a whole number with its bounds.
type number struct {
	to          *int
	least, most int
}

// numbers reads an object of whole numbers. What is absent or null stays as it is.
func numbers(raw json.RawMessage, fields map[string]number) error {
	m, ok := object(raw)
	if !ok {
		return errors.New("must be an object")
	}
	for name, v := range m {
		n, known := fields[name]
		if !known {
			return fmt.Errorf("there is no %q", name)
		}
		if isNull(v) {
			continue
		}
		var f float64
		if json.Unmarshal(v, &f) != nil || f != math.Trunc(f) || f < float64(n.least) || f > float64(n.most) {
			return fmt.Errorf("%s must be a whole number from %d to %d, not %s", name, n.least, n.most, bytes.TrimSpace(v))
		}
		*n.to = int(f)
	}
	return nil
}

// retries is how many attempts may follow the first of a schedule's ticks.
func retries(x *engine.Schedule) int {
	r, err := parseRetry("schedule.retry", x.Extra["retry"])
	if err != nil || r == nil { // it was judged when it was stored
		return 0
	}
	return r.attempts()
}

// again takes from ticks whose job ended those that another attempt follows.
func (s *Schedules) again(list []store.TickEnded) (ends []store.TickEnded, more []store.TickRetry) {
	for _, t := range list {
		r, err := parseRetry("schedule.retry", t.Retry) // it was judged when it was stored
		if err != nil || r == nil || t.Attempts > r.attempts() {
			ends = append(ends, t)
			continue
		}
		due := s.cfg.Clock.Now().Add(r.delay(t.Attempts, rand.Float64()))
		more = append(more, store.TickRetry{TickKey: t.TickKey, Job: engine.NewJobID(), Former: t.Job, Due: due})
	}
	return ends, more
}

// retry pushes another attempt. What cannot be pushed now stays pending; what never can ends the tick as the former attempt ended.
func (s *Schedules) retry(ctx context.Context, r store.TickRetry) {
	err := s.pushRetry(ctx, r)
	if ctx.Err() != nil {
		return
	}
	log := s.cfg.Log.Warn().Err(err).Str("workspace", r.Workspace).Str("schedule", r.Path).Time("tick", r.At)
	why := ""
	if err != nil {
		if !permanent(err) {
			log.Msg("start another attempt of a scheduled run; will try again")
			return
		}
		log.Msg("another attempt of a scheduled run cannot start")
		why = "no further attempt: " + reason(err)
	}
	if err := s.cfg.DB.TickRetried(ctx, r.TickKey, r.Job, why); err != nil {
		s.cfg.Log.Warn().Err(err).Msg("note an attempt; it will be pushed again under the same id")
		return
	}
	if why != "" {
		s.endedSoon(r.Former)
		return
	}
	s.watch(ctx, r.Job)
}

// pushRetry pushes what the former attempt was, as a child of it.
func (s *Schedules) pushRetry(ctx context.Context, r store.TickRetry) error {
	x, err := s.cfg.DB.ScheduleGet(ctx, r.Workspace, r.Path)
	if store.IsNotFound(err) {
		return notFound("schedule.retry", r.Workspace, r.Path) // deleted meanwhile, with its ticks
	}
	if err != nil {
		return err
	}
	former, err := s.cfg.Jobs.Get(ctx, s.owner(x), r.Workspace, r.Former, false)
	if err != nil {
		return err
	}
	_, err = s.cfg.Jobs.Run(ctx, s.owner(x), engine.RunRequest{Workspace: x.Workspace, Kind: former.Kind, Path: former.Path,
		Args: former.Args, Tag: x.Tag, Priority: former.Priority, ScheduledFor: r.Due, Parent: &r.Former, ID: &r.Job,
		Trigger: "schedule", TriggerPath: x.Path})
	return err
}

// endedSoon lets loop settle the tick of a job at its next look. When it is busy, a poll finds it.
func (s *Schedules) endedSoon(id uuid.UUID) {
	select {
	case s.ended <- id:
	default:
	}
}
