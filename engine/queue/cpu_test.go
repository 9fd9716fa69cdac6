package queue

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/engine/store"
	"github.com/millrace/millrace/engine/store/storetest"
)

// serverCPU is what all processes of the database server have used so far. It drifts less than the clock when others use
// the same machine.
func serverCPU(t testing.TB, db *store.DB) (sum time.Duration) {
	t.Helper()
	var pids string
	storetest.Row(t, db, "select string_agg(pid::text, ' ') from pg_stat_activity", &pids)
	for _, pid := range strings.Fields(pids) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue // it has ended since
		}
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		for _, ticks := range f[11:13] { // utime and stime
			n, err := strconv.Atoi(string(ticks))
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * time.Second / 100
		}
	}
	return sum
}

func ownCPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
