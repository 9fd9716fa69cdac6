package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are there on hosts without the files

	cron "github.com/netresearch/go-cron"
)

// searchYears is how far Next looks: the 29th of February on a given weekday comes every 28 years, or after 40 around 2100.
const searchYears = 41

// allHours is the hour field that is true in every hour.
const allHours = 1<<24 - 1

const fields = cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.Extended

// Days of month and week are joined by "or" when both are given, as crontab does; the first version of Windmill's syntax meant "and".
var (
	parser   = cron.MustNewParser(fields | cron.DowOrDom).WithMaxSearchYears(searchYears)
	parserV1 = cron.MustNewParser(fields).WithMaxSearchYears(searchYears)
)

// Grid is the moments that an expression names in a time zone. It is immutable.
//
// The library finds the fields that match on a clock without summer time; what that clock shows is then brought to real time:
//
//   - An expression that is true in every hour follows real time. It has every moment at which the clock of the zone shows
//     matching fields, both times when the clock goes back.
//   - Any other has every wall time once: at its first occurrence when the clock shows it twice, and at the moment the gap ends
//     when the clock never shows it. Several of a gap are one.
type Grid struct {
	spec   *cron.SpecSchedule // in UTC, which stands for the clock on the wall
	zone   *time.Location
	hourly bool
}

// NewGrid parses an expression. version is "v1" or "v2", "" is "v2": in v1 weekdays are counted from 1, Sunday.
func NewGrid(expr, version, zone string) (*Grid, error) {
	loc, err := loadZone(zone)
	if err != nil {
		return nil, err
	}
	spec, err := parse(strings.TrimSpace(expr), version)
	if err != nil {
		return nil, err
	}
	return &Grid{spec: spec, zone: loc, hourly: spec.Hour&allHours == allHours}, nil
}

func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone: use a name such as UTC or Europe/Berlin", name)
	}
	return loc, nil
}

func parse(expr, version string) (*cron.SpecSchedule, error) {
	p := parser
	list := strings.Fields(expr)
	switch {
	case version != "" && version != "v1" && version != "v2":
		return nil, fmt.Errorf("%q is not a version of the cron syntax: use v1 or v2", version)
	case strings.Contains(expr, "="):
		return nil, fmt.Errorf("an expression has no time zone in it: use the field timezone")
	case strings.HasPrefix(expr, "@"):
		if strings.HasPrefix(expr, "@every") {
			return nil, fmt.Errorf("@every has no fixed moments: write the steps out, such as */5 for minutes")
		}
	case len(list) != 5 && len(list) != 6:
		return nil, fmt.Errorf("an expression has 5 fields (minute, hour, day of month, month, day of week) or 6 (second first), not %d", len(list))
	default:
		week, err := weekdays(list[len(list)-1], version == "v1")
		if err != nil {
			return nil, err
		}
		list[len(list)-1] = week
		if err := checkFields(list); err != nil {
			return nil, err
		}
		expr = strings.Join(list, " ")
	}
	if version == "v1" {
		p = parserV1
	}
	s, err := p.Parse(expr)
	if err != nil {
		return nil, err
	}
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q names no moments", expr)
	}
	spec.Location = time.UTC
	return spec, nil
}

var fieldNames = []string{"second", "minute", "hour", "day of month", "month", "day of week"}

// checkFields says which field is wrong; the library only says how.
func checkFields(list []string) error {
	first := len(fieldNames) - len(list)
	for i, f := range list {
		probe := []string{"0", "0", "0", "*", "*", "*"}
		probe[first+i] = f
		if strings.Trim(f, ",") != f || strings.Contains(f, ",,") {
			return fmt.Errorf("the field %s, %q, has an empty part", fieldNames[first+i], f)
		}
		if _, err := parser.Parse(strings.Join(probe, " ")); err != nil {
			return fmt.Errorf("the field %s, %q: %w", fieldNames[first+i], f, err)
		}
	}
	return nil
}

// weekdays writes a field of weekdays as the library knows it: 5L becomes 5#L, MON-FRI#2 a list, and the numbers of v1, in which
// Sunday is 1, those of everybody else.
func weekdays(field string, v1 bool) (string, error) {
	var out []string
	for _, part := range strings.Split(field, ",") {
		days, nth, hash := strings.Cut(part, "#")
		if !hash && len(days) > 1 && strings.HasSuffix(strings.ToUpper(days), "L") {
			days, nth, hash = days[:len(days)-1], "L", true
		}
		if v1 {
			shifted, err := shift(days)
			if err != nil {
				return "", err
			}
			days = shifted
		}
		switch {
		case !hash:
			out = append(out, days)
		case strings.Contains(days, "-"):
			list, err := expand(days)
			if err != nil {
				return "", err
			}
			for _, d := range list {
				out = append(out, d+"#"+nth)
			}
		default:
			out = append(out, days+"#"+strings.ToUpper(nth))
		}
	}
	return strings.Join(out, ","), nil
}

// shift counts the days of "2", "2-6" or "2/2" from Sunday, 0. The step after a slash is no day.
func shift(days string) (string, error) {
	days, step, stepped := strings.Cut(days, "/")
	ends := strings.Split(days, "-")
	for i, e := range ends {
		n, err := strconv.Atoi(e)
		if err != nil {
			continue // a name, or a star
		}
		if n < 1 || n > 7 {
			return "", fmt.Errorf("the field day of week, %q: weekdays of v1 are 1 (Sunday) to 7", days)
		}
		ends[i] = strconv.Itoa(n - 1)
	}
	out := strings.Join(ends, "-")
	if stepped {
		out += "/" + step
	}
	return out, nil
}

// expand lists the days of a range as numbers.
func expand(days string) ([]string, error) {
	s, err := parser.Parse("0 0 0 * * " + days)
	if err != nil {
		return nil, fmt.Errorf("the field day of week, %q: %w", days, err)
	}
	var out []string
	for d := range 7 {
		if s.(*cron.SpecSchedule).Dow&(1<<d) != 0 {
			out = append(out, strconv.Itoa(d))
		}
	}
	return out, nil
}

// Next returns the first moment after t; zero when there is none within searchYears.
func (g *Grid) Next(t time.Time) time.Time {
	if g.hourly {
		return g.nextReal(t)
	}
	from := wall(t.In(g.zone))
	if began, _ := t.In(g.zone).ZoneBounds(); !began.IsZero() {
		// In the second pass of wall times that come twice, all of them are over until the clock has caught up.
		if end := wall(began.Add(-time.Nanosecond).In(g.zone)); end.After(from) {
			from = end
		}
	}
	w := g.spec.Next(from)
	if w.IsZero() {
		return time.Time{}
	}
	return g.first(w)
}

// wall is what the clock at t shows, as if it were UTC.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// first is the moment when the clock shows w first, or jumps over it.
func (g *Grid) first(w time.Time) time.Time {
	t := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, g.zone)
	began, ends := t.ZoneBounds()
	switch shown := wall(t); {
	case shown.After(w): // a gap, counted with the offset of before it
		return began.UTC()
	case shown.Before(w): // a gap, counted with the offset of after it
		return ends.UTC()
	case began.IsZero():
		return t.UTC()
	}
	_, before := began.Add(-time.Nanosecond).In(g.zone).Zone()
	if earlier := w.Add(-time.Duration(before) * time.Second); earlier.Before(began) {
		return earlier
	}
	return t.UTC()
}

// nextReal walks from one change of the offset to the next.
func (g *Grid) nextReal(t time.Time) time.Time {
	limit := t.AddDate(searchYears, 0, 0)
	for t.Before(limit) {
		local := t.In(g.zone)
		_, offset := local.Zone()
		_, ends := local.ZoneBounds()
		w := g.spec.Next(wall(local))
		if w.IsZero() {
			return time.Time{}
		}
		next := w.Add(-time.Duration(offset) * time.Second)
		if ends.IsZero() || next.Before(ends) {
			return next
		}
		_, then := ends.In(g.zone).Zone()
		gap := time.Duration(then-offset) * time.Second
		if gap > 0 && gap%time.Hour != 0 && next.Before(ends.Add(gap)) {
			return ends.UTC() // part of an hour is left out: its ticks come when the clock goes on
		}
		// From there on the clock of after the change counts.
		w = g.spec.Next(wall(ends.In(g.zone)).Add(-time.Nanosecond))
		if w.IsZero() {
			return time.Time{}
		}
		next = w.Add(-time.Duration(then) * time.Second)
		if _, until := ends.In(g.zone).ZoneBounds(); until.IsZero() || next.Before(until) {
			return next
		}
		t = ends
	}
	return time.Time{}
}

// Day is the calendar day of t in the grid's zone, as year, month and day in UTC.
func (g *Grid) Day(t time.Time) time.Time {
	y, m, d := t.In(g.zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// FirstOf is the first moment of the grid on a day that Day returned.
func (g *Grid) FirstOf(day time.Time) time.Time {
	begin := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, g.zone)
	for g.Day(begin).Before(day) { // midnight is in a gap
		_, begin = begin.ZoneBounds()
	}
	return g.Next(begin.Add(-time.Nanosecond))
}
