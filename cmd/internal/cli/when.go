package cli

import (
	"fmt"
	"time"
)

// moments are the forms in which a time can be given; those without a zone are local.
var moments = []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

const momentHelp = "`time`: 2026-12-01T15:04:05Z, '2026-12-01 15:04' (local), 2026-12-01, or from now: 2h, -30m"

// when reads a time; what is only a duration counts from now.
func (c *call) when(flag, s string) (time.Time, error) {
	for _, form := range moments {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return c.now().Add(d), nil
	}
	return time.Time{}, wrongUsage("%s %q is no time; write 2026-12-01T15:04:05Z, '2026-12-01 15:04', 2026-12-01, 2h or -30m", flag, s)
}

// now is the moment that a test has chosen, or the present.
func (c *call) now() time.Time {
	if c.clock != nil {
		return c.clock()
	}
	return time.Now()
}

// relative says how far t is away.
func (c *call) relative(t time.Time) string {
	d := t.Sub(c.now())
	if d < 0 {
		return span(-d) + " ago"
	}
	return "in " + span(d)
}

// span rounds a duration to one unit, two where one would be coarse.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(big time.Duration, bigName string, small time.Duration, smallName string) string {
		s := fmt.Sprintf("%d %s", d/big, bigName)
		if rest := d % big / small; rest > 0 && d < 10*big {
			s += fmt.Sprintf(" %d %s", rest, smallName)
		}
		return s
	}
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		return two(time.Hour, "h", time.Minute, "min")
	}
	return two(day, "d", time.Hour, "h")
}
