package sandboxtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Row is the count of one run of the probes.
type Row struct {
	Who, Mode, Network string
	Probes             int            // tried inside
	Refused            int            // of them
	Confirmed          int            // refused, and shown to work without walls
	Reasons            map[string]int // why the others were not promised or not confirmed
}

// Table gathers rows.
type Table struct {
	rows    []Row
	reasons map[string]int
}

// Add appends a row.
func (t *Table) Add(r Row) {
	t.rows = append(t.rows, r)
	if t.reasons == nil {
		t.reasons = map[string]int{}
	}
	for why, n := range r.Reasons {
		t.reasons[why] += n
	}
}

// String prints the rows, their sum and the reasons.
func (t *Table) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "who\tisolation\tnetwork\tprobes\trefused\tcontrol works\tno control\tnot promised")
	var sum Row
	for _, r := range append(t.rows, Row{}) {
		last := r.Who == ""
		if last {
			r, r.Who = sum, "all"
		}
		free := r.Probes - r.Refused
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", r.Who, r.Mode, r.Network, r.Probes, r.Refused, r.Confirmed, r.Refused-r.Confirmed, free)
		sum.Probes, sum.Refused, sum.Confirmed = sum.Probes+r.Probes, sum.Refused+r.Refused, sum.Confirmed+r.Confirmed
	}
	_ = w.Flush()
	for _, why := range slices.Sorted(maps.Keys(t.reasons)) {
		fmt.Fprintf(&text, "%5d  %s\n", t.reasons[why], why)
	}
	return text.String()
}
