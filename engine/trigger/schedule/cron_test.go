package schedule

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func grid(t testing.TB, expr, version, zone string) *Grid {
	t.Helper()
	g, err := NewGrid(expr, version, zone)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return g
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		expr, version, zone, from string
		want                      []string // in the zone
	}{
		{"*/15 * * * *", "", "", "2026-01-01T00:00:00Z", []string{"2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"}},
		{"*/20 * * * * *", "", "", "2026-01-01T00:00:00.5Z", []string{"2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"}},
		{"@daily", "", "Europe/Berlin", "2026-01-01T00:00:00Z", []string{"2026-01-02T00:00:00+01:00"}},
		{"0 0 12 L * ?", "", "", "2026-02-01T00:00:00Z", []string{"2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z"}},
		{"0 0 12 L-2 * ?", "", "", "2026-02-01T00:00:00Z", []string{"2026-02-26T12:00:00Z"}},
		{"0 22-1 * * *", "", "", "2026-02-01T00:30:00Z", []string{"2026-02-01T01:00:00Z", "2026-02-01T22:00:00Z"}},
		{"0 0 * * FRI-MON", "", "", "2026-02-03T00:30:00Z", []string{"2026-02-06T00:00:00Z", "2026-02-07T00:00:00Z"}},
		{"0 0 12 15W * ?", "v2", "", "2026-08-01T00:00:00Z", []string{"2026-08-14T12:00:00Z", "2026-09-15T12:00:00Z"}},
		{"0 0 12 LW * ?", "v2", "", "2026-05-01T00:00:00Z", []string{"2026-05-29T12:00:00Z"}},
		{"0 0 12 ? * 5#3", "v2", "", "2026-05-01T00:00:00Z", []string{"2026-05-15T12:00:00Z", "2026-06-19T12:00:00Z"}},
		{"0 0 12 ? * 5L", "v2", "", "2026-05-01T00:00:00Z", []string{"2026-05-29T12:00:00Z"}},
		{"0 0 12 ? * FRI#L", "v2", "", "2026-05-01T00:00:00Z", []string{"2026-05-29T12:00:00Z"}},
		{"0 0 12 ? * MON-TUE#2", "v2", "", "2026-05-01T00:00:00Z", []string{"2026-05-11T12:00:00Z", "2026-05-12T12:00:00Z", "2026-06-08T12:00:00Z"}},
		{"0 0 12 ? FEB-DEC/5 mon-wed", "v2", "", "2026-01-01T00:00:00Z", []string{"2026-02-02T12:00:00Z"}},
		{"0 12 13 * fri", "", "", "2026-02-02T00:00:00Z", []string{"2026-02-06T12:00:00Z", "2026-02-13T12:00:00Z"}},      // or
		{"0 0 12 13 * 6", "v1", "", "2026-02-02T00:00:00Z", []string{"2026-02-13T12:00:00Z", "2026-03-13T12:00:00Z"}},    // and; 6 is Friday
		{"0 0 12 * * 1", "v1", "", "2026-02-02T00:00:00Z", []string{"2026-02-08T12:00:00Z"}},                             // Sunday
		{"0 0 12 * * 2-6/2", "v1", "", "2026-02-07T00:00:00Z", []string{"2026-02-09T12:00:00Z", "2026-02-11T12:00:00Z"}}, // Monday, Wednesday
		{"0 12 * * 7", "v2", "", "2026-02-02T00:00:00Z", []string{"2026-02-08T12:00:00Z"}},                               // Sunday
		{"0 0 29 2 *", "", "", "2026-03-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		// Berlin: 02:00 CET -> 03:00 CEST on 2026-03-29; 03:00 CEST -> 02:00 CET on 2026-10-25.
		{"30 2 * * *", "", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"*/20 2 * * *", "", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"30 2 * * *", "", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"*/30 2,3 * * *", "", "Europe/Berlin", "2026-10-24T22:00:00Z", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00"}},
		{"0 */2 * * *", "", "Europe/Berlin", "2026-10-24T22:30:00Z", []string{"2026-10-25T02:00:00+02:00", "2026-10-25T04:00:00+01:00"}},
		{"30 * * * *", "", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"30 * * * *", "", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
		// From within the second pass.
		{"45 2 * * *", "", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T02:45:00+01:00"}},
		// New York: 02:00 EST -> 03:00 EDT on 2026-03-08; 02:00 EDT -> 01:00 EST on 2026-11-01.
		{"15 2 * * *", "", "America/New_York", "2026-03-08T00:00:00Z", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"}},
		{"15 1 * * *", "", "America/New_York", "2026-11-01T00:00:00Z", []string{"2026-11-01T01:15:00-04:00", "2026-11-02T01:15:00-05:00"}},
		{"15 * * * *", "", "America/New_York", "2026-11-01T05:00:00Z", []string{"2026-11-01T01:15:00-04:00", "2026-11-01T01:15:00-05:00", "2026-11-01T02:15:00-05:00"}},
		// Lord Howe: 02:00 +10:30 -> 02:30 +11 on 2026-10-04; 02:00 +11 -> 01:30 +10:30 on 2026-04-05.
		{"10 2 * * *", "", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:10:00+11:00"}},
		{"40 1 * * *", "", "Australia/Lord_Howe", "2026-04-04T13:00:00Z", []string{"2026-04-05T01:40:00+11:00", "2026-04-06T01:40:00+10:30"}},
		{"10 * * * *", "", "Australia/Lord_Howe", "2026-10-03T14:30:00Z", []string{"2026-10-04T01:10:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T03:10:00+11:00"}},
		{"45 * * * *", "", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", []string{"2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30", "2026-04-05T02:45:00+10:30"}},
		// Havana: midnight does not exist on 2026-03-08.
		{"0 0 * * *", "", "America/Havana", "2026-03-07T12:00:00Z", []string{"2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"}},
		// Apia left out 2011-12-30.
		{"0 12 * * *", "", "Pacific/Apia", "2011-12-29T23:00:00Z", []string{"2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
	} {
		g := grid(t, c.expr, c.version, c.zone)
		now := at(t, c.from)
		for _, want := range c.want {
			now = g.Next(now)
			if !now.Equal(at(t, want)) {
				t.Errorf("%s in %s from %s: %s, want %s", c.expr, c.zone, c.from, now.In(g.zone).Format(time.RFC3339), want)
				break
			}
		}
	}
}

func TestBadExpressions(t *testing.T) {
	for _, c := range []struct{ expr, version, zone, want string }{
		{"61 * * * *", "", "", "the field minute"},
		{"* * * * * 9", "", "", "the field day of week"},
		{"* 25 * * *", "", "", "the field hour"},
		{"* * 32 * *", "", "", "the field day of month"},
		{"* * * foo *", "", "", "the field month"},
		{"99 * * * * *", "", "", "the field second"},
		{"1,,2 * * * *", "", "", "empty part"},
		{"* * * *", "", "", "5 fields"},
		{"", "", "", "5 fields"},
		{"@every 5m", "", "", "@every"},
		{"@reboot", "", "", "descriptor"},
		{"TZ=UTC * * * * *", "", "", "timezone"},
		{"* * * * * 0", "v1", "", "1 (Sunday) to 7"},
		{"* * * * *", "v3", "", "version"},
		{"* * * * *", "", "Mars/Olympus", "time zone"},
		{"* * * * *", "", "Local", "time zone"},
	} {
		_, err := NewGrid(c.expr, c.version, c.zone)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want something about %q", c.expr, err, c.want)
		}
	}
	if n := grid(t, "0 0 30 2 *", "", "").Next(time.Now()); !n.IsZero() {
		t.Errorf("the 30th of February is %s", n)
	}
}

// matches says whether the clock at moment x shows fields of the expression, by asking for what follows the second before.
func matches(g *Grid, x time.Time) bool {
	w := wall(x.In(g.zone))
	return g.spec.Next(w.Add(-time.Second)).Equal(w)
}

// Whatever the expression, zone and moment: what comes next is later, is what comes next from everywhere before it, and is a
// moment whose clock matches, or the end of a gap.
func TestNextProperties(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana", "Africa/Casablanca"}
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	for range 3000 {
		expr := strings.Join([]string{
			pick("0", "*/30", "15,45"), pick("0", "*", "*/7", "30", "10-20"), pick("*", "2", "1-3", "*/2", "0"),
			pick("*", "*", "1", "L", "25-31"), pick("*", "*", "3,10", "OCT-APR"), pick("*", "*", "SUN", "MON-FRI"),
		}, " ")
		g := grid(t, expr, "", zones[rnd.IntN(len(zones))])
		from := time.Date(2026, time.Month(1+rnd.IntN(12)), 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(60), rnd.IntN(60), rnd.IntN(1e9), time.UTC)
		if began, ends := from.In(g.zone).ZoneBounds(); rnd.IntN(2) == 0 && !ends.IsZero() { // close to a change
			from = ends.Add(time.Duration(rnd.IntN(8*3600)-4*3600) * time.Second)
		} else if rnd.IntN(4) == 0 && !began.IsZero() {
			from = began
		}
		for range 4 {
			next := g.Next(from)
			between := from.Add(time.Duration(rnd.Int64N(int64(next.Sub(from)))))
			began, _ := next.In(g.zone).ZoneBounds()
			switch {
			case !next.After(from):
				t.Fatalf("%s in %s: after %s comes %s", expr, g.zone, from, next)
			case !g.Next(between).Equal(next):
				t.Fatalf("%s in %s: after %s comes %s, but after %s comes %s", expr, g.zone, from, next, between, g.Next(between))
			case !matches(g, next) && !next.Equal(began):
				t.Fatalf("%s in %s: after %s comes %s, which does not match", expr, g.zone, from, next.In(g.zone))
			}
			from = next
		}
	}
}

// Every real hour has a tick of an hourly expression, and no wall time of a daily one is left out in a whole year.
func TestYearIsComplete(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
		g := grid(t, "5 * * * *", "", zone)
		for x := at(t, "2026-01-01T00:00:00Z"); x.Year() == 2026; {
			next := g.Next(x)
			most := time.Hour
			if zone == "Australia/Lord_Howe" {
				most += 30 * time.Minute // its clock goes back by half an hour
			}
			if next.Sub(x) > most {
				t.Errorf("%s: nothing between %s and %s", zone, x, next)
			}
			x = next
		}
		for hour := range 24 {
			daily := grid(t, "35 "+time.Date(0, 1, 1, hour, 0, 0, 0, time.UTC).Format("15")+" * * *", "", zone)
			days := map[time.Time]int{}
			for x := daily.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, daily.zone)); x.In(daily.zone).Year() == 2026; x = daily.Next(x) {
				days[daily.Day(x)]++
			}
			for day, n := range days {
				if n != 1 {
					t.Errorf("%s: %d ticks at %d:35 on %s", zone, n, hour, day)
				}
			}
			if len(days) != 365 {
				t.Errorf("%s: ticks at %d:35 on %d days", zone, hour, len(days))
			}
		}
	}
}

func TestFirstOf(t *testing.T) {
	g := grid(t, "0 0 * * *", "", "America/Havana")
	if got := g.FirstOf(time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)); !got.Equal(at(t, "2026-03-08T01:00:00-04:00")) {
		t.Error(got)
	}
	g = grid(t, "30 4 * * *", "", "Europe/Berlin")
	if got := g.FirstOf(g.Day(at(t, "2026-07-01T23:00:00Z"))); !got.Equal(at(t, "2026-07-02T04:30:00+02:00")) {
		t.Error(got)
	}
}

func BenchmarkNext(b *testing.B) {
	for name, expr := range map[string]string{"second": "* * * * * *", "daily": "30 2 * * *", "minute": "* * * * *"} {
		g := grid(b, expr, "", "Europe/Berlin")
		b.Run(name, func(b *testing.B) {
			x := time.Now()
			for b.Loop() {
				x = g.Next(x)
			}
		})
	}
}
