package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// histogram counts durations in buckets of about 1.6 %. Its size does not depend on what it has seen, so that it can watch
// memory without being seen there. Safe for concurrent use.
type histogram struct {
	counts [64 * subBuckets]atomic.Int64
	max    atomic.Int64
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
)

func (h *histogram) add(d time.Duration) {
	v := uint64(max(d, 0))
	for {
		old := h.max.Load()
		if int64(v) <= old || h.max.CompareAndSwap(old, int64(v)) {
			break
		}
	}
	h.counts[bucket(v)].Add(1)
}

func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - subBuckets
}

// value is the middle of a bucket.
func value(b int) uint64 {
	if b < subBuckets {
		return uint64(b)
	}
	shift := b>>subBits - 1
	return uint64(b&(subBuckets-1)+subBuckets)<<shift + uint64(1)<<shift/2
}

// take returns quantiles and the greatest value, and empties h.
func (h *histogram) take(qs ...float64) (n int64, at []time.Duration, most time.Duration) {
	counts := make([]int64, len(h.counts))
	for i := range h.counts {
		counts[i] = h.counts[i].Swap(0)
		n += counts[i]
	}
	most = time.Duration(h.max.Swap(0))
	for _, q := range qs {
		left := int64(q*float64(n) + 0.999999)
		b := 0
		for ; b < len(counts)-1 && left > counts[b]; b++ {
			left -= counts[b]
		}
		at = append(at, min(time.Duration(value(b)), most))
	}
	return n, at, most
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(s []time.Duration, q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// times reports the quantiles of a sample under a metric key of bench.
func times(b *testing.B, key string, s []time.Duration) {
	b.Helper()
	b.ReportMetric(ms(quantile(s, 0.5)), key+"_p50-ms")
	b.ReportMetric(ms(quantile(s, 0.99)), key+"_p99-ms")
}

// server is the processes of the Postgres behind an address, which must be on this machine.
type server struct{ postmaster int }

func serverOf(t testing.TB, c *pgx.Conn) server {
	t.Helper()
	var pid int
	if err := c.QueryRow(context.Background(), "select pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	f := stat(pid)
	if f == nil {
		t.Fatalf("the server's process %d is not on this machine", pid)
	}
	return server{atoi(f[1])}
}

// stat returns the fields of /proc/PID/stat from the state on; nil when there is no such process.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 15 {
		return nil
	}
	return f
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // the kernel writes numbers
	return n
}

func (s server) processes() []int {
	pids := []int{s.postmaster}
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is valid
	for _, d := range dirs {
		pid := atoi(filepath.Base(d))
		if f := stat(pid); f != nil && atoi(f[1]) == s.postmaster {
			pids = append(pids, pid)
		}
	}
	return pids
}

const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on

// cpu is the processor time of all processes so far, those that are gone included. Wall-clock times tell about the whole
// machine; this is what the server did.
func (s server) cpu() (sum time.Duration) {
	if f := stat(s.postmaster); f != nil {
		sum = time.Duration(atoi(f[13])+atoi(f[14])) * tick // of the ended ones
	}
	for _, pid := range s.processes() {
		sum += onCPU(pid)
	}
	return sum
}

// onCPU is what a process with one thread has used so far; 0 when it has ended.
func onCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0
	}
	ns, _, _ := strings.Cut(string(b), " ")
	return time.Duration(atoi(ns))
}

// memory is what the processes take in MB, shared pages counted once.
func (s server) memory() (mb float64) {
	for _, pid := range s.processes() {
		mb += kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:") / 1024
	}
	return mb
}

// ownCPU is the processor time of this process, ownMemory what it takes in MB.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ownMemory() float64 { return kilobytes("/proc/self/status", "VmRSS:") / 1024 }

func kilobytes(file, field string) float64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, field); ok {
			return float64(atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB"))))
		}
	}
	return 0
}

// writeReport writes r to the file that MILLRACE_BENCH_OUT names, where bench expects it.
func writeReport(t testing.TB, r any) {
	t.Helper()
	file := os.Getenv("MILLRACE_BENCH_OUT")
	if file == "" {
		return
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// side is a connection beside the store's, to look behind the scenes.
type side struct {
	t testing.TB
	*pgx.Conn
	notices *[]string
}

func openSide(t testing.TB, url string) side {
	t.Helper()
	s := side{t: t, notices: &[]string{}}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { *s.notices = append(*s.notices, n.Message) }
	if s.Conn, err = pgx.ConnectConfig(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

var notRemovable = regexp.MustCompile(`(\d+) are dead but not yet removable`)

// vacuum removes what it can from a table and returns how many dead rows it had to leave.
func (s side) vacuum(table string) (left int) {
	s.t.Helper()
	*s.notices = nil
	s.exec("vacuum verbose " + table)
	found := notRemovable.FindAllStringSubmatch(strings.Join(*s.notices, "\n"), -1)
	if found == nil {
		s.t.Fatalf("vacuum does not say what it left: %q", *s.notices)
	}
	for _, f := range found {
		left += atoi(f[1])
	}
	return left
}

func (s side) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.Exec(context.Background(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// number is the one value that sql selects.
func (s side) number(sql string, args ...any) (n float64) {
	s.t.Helper()
	if err := s.QueryRow(context.Background(), "select ("+sql+")::float8", args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// clone copies rows of jobs many times, by turns, once for each i from lo to hi, with other values in some columns. What the other
// columns are is the schema's business.
func (s side) clone(table string, ids []uuid.UUID, set map[string]string, lo, hi int) {
	s.t.Helper()
	rows, err := s.Query(context.Background(), `select attname::text from pg_attribute
		where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum`, table)
	if err != nil {
		s.t.Fatal(err)
	}
	cols, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	from := make([]string, len(cols))
	for i, c := range cols {
		if from[i] = set[c]; from[i] == "" {
			from[i] = "t." + c
		}
	}
	s.exec(fmt.Sprintf(`with templates as materialized (select row_number() over (order by id) - 1 as turn, * from %s where id = any('{%s}'))
		insert into %s (%s) select %s from generate_series(%d, %d) i cross join lateral (select * from templates where turn = i %% %d offset 0) t`,
		table, strings.Join(texts(ids), ","), table, strings.Join(cols, ", "), strings.Join(from, ", "), lo, hi, len(ids)))
}

func texts(ids []uuid.UUID) (out []string) {
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

// idOf is the SQL of a time-ordered id for moment at (SQL) and number i.
func idOf(at string, kind int) string {
	return fmt.Sprintf(`(lpad(to_hex((extract(epoch from %s) * 1000)::int8), 12, '0') || '7%03x8000' || lpad(to_hex(i), 12, '0'))::uuid`, at, kind)
}
