package cli

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/web/client"
)

// describeUsage prints what else a job used, for a person; what is not known is left out.
func (c *call) describeUsage(j *client.Job) {
	u := j.Usage
	if u == nil {
		return
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(c.stdout, "%-10s "+format+"\n", append([]any{name}, args...)...)
	}
	if u.ThrottledMS > 0 {
		line("throttled", "%s by limits.cpu", millis(u.ThrottledMS))
	}
	if u.PidsPeak > 0 {
		line("processes", "%d at most", u.PidsPeak)
	}
	if u.IORead > 0 || u.IOWritten > 0 {
		line("disks", "%.1f MB read, %.1f MB written", megabytes(u.IORead), megabytes(u.IOWritten))
	}
	if u.LimitHit != "" {
		line("limit hit", "%s", strings.ReplaceAll(u.LimitHit, "_", " "))
	}
	if o := u.OOM; o != nil {
		killed := fmt.Sprintf("%d processes", o.Kills)
		if o.Kills == 1 {
			killed = "1 process"
		}
		if o.Command != "" {
			killed += fmt.Sprintf(", the last being %s with %.1f MB", o.Command, megabytes(o.Memory))
		}
		line("killed", "%s, for more than %.1f MB", killed, megabytes(o.Limit))
	}
}

func megabytes(n int64) float64 { return float64(n) / (1 << 20) }
