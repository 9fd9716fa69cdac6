package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox"
)

// config is what serve can be told; every flag has an environment variable of the same meaning (MILLRACE_DATA for --data).
type config struct {
	data        string
	listen      string
	publicURL   string // where people reach the server
	databaseURL string
	secretKey   string // file of the key of secrets
	workspace   string
	isolation   string
	network     networkConfig
	gpuRoot     string // below which GPUs are looked for
	log         string
	slots       int
	dedicated   int // processes that are kept for dedicated scripts
	tags        string
	name        string
	lease       time.Duration
	queueLimit  int64
	drain       time.Duration
	retention   int
	example     bool
	limits      sandbox.Limits      // of a run that asks for none
	maxLimits   engine.LimitOptions // the most that a script may ask for
}

const serveUsage = `Usage: millrace serve [flags]

Starts the daemon. No flag is needed. Each flag can be given as an environment variable too: --data as MILLRACE_DATA,
--database-url as MILLRACE_DATABASE_URL, and so on.

`

// parseConfig reads flags over environment over defaults. errHelp means that the usage was printed.
func parseConfig(args []string, env func(string) string, out io.Writer) (config, error) {
	var c config
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		_, _ = io.WriteString(out, serveUsage)
		fs.PrintDefaults()
	}
	or := func(name, value string) string {
		if v := env("MILLRACE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))); v != "" {
			return v
		}
		return value
	}
	fs.StringVar(&c.data, "data", or("data", defaultData()), "`folder` for the database, caches and the local socket")
	fs.StringVar(&c.listen, "listen", or("listen", "127.0.0.1:8000"), "TCP `address` of the HTTP API")
	fs.StringVar(&c.publicURL, "public-url", or("public-url", ""), "`URL` under which people reach this server, for links that it hands out; empty: http and the address of --listen")
	fs.StringVar(&c.databaseURL, "database-url", or("database-url", ""), "PostgreSQL 15 to 18 to use, as a `URL`; empty: a private one in the data folder")
	fs.StringVar(&c.secretKey, "secret-key-file", or("secret-key-file", ""), "`file` with the key that secret variables are encrypted with, made when it is not there; empty: secret.key in the data folder. Daemons of one database need the same")
	fs.StringVar(&c.workspace, "workspace", or("workspace", "main"), "workspace that is made at the first start")
	fs.StringVar(&c.isolation, "isolation", or("isolation", "full"), "`full` (namespaces, cgroups, seccomp), nsjail (the same walls by nsjail, no cgroups, slower) or none (no walls at all: only for code you trust)")
	fs.StringVar(&c.network.standard, "network-default", or("network-default", networkAuto), "`network` of jobs that do not say: none, egress, host, or auto (egress where the host can, else host)")
	fs.StringVar(&c.network.egress, "egress", or("egress", egressRefuse), "what becomes of jobs that want network egress where the host has none: `refuse` them, or give them the network of the host")
	fs.StringVar(&c.gpuRoot, "gpu-root", or("gpu-root", "/"), "`folder` below which GPUs and their driver's files are looked for, as /dev, /proc, /sys and /usr have them; another one is for tests")
	fs.StringVar(&c.log, "log", or("log", "console"), "`json` or console")
	slots := or("slots", "0")
	fs.StringVar(&slots, "slots", slots, "jobs in sandboxes at the same time; 0: from the host's cores and memory")
	dedicated := or("dedicated", "auto")
	fs.StringVar(&dedicated, "dedicated", dedicated, "processes that are kept for dedicated scripts; 0: none, auto: as many as slots")
	fs.StringVar(&c.tags, "tags", or("tags", defaultTags), "worker `tags` to take, separated by commas; default stands for those of the languages here, dependency and noop")
	fs.StringVar(&c.name, "name", or("name", ""), "`name` of this worker, shown to people; empty: host:pid")
	lease := or("lease", "30s")
	fs.StringVar(&lease, "lease", lease, "how long after its last heartbeat a daemon is taken for dead and its jobs are given to others")
	queueLimit := or("queue-limit", "0")
	fs.StringVar(&queueLimit, "queue-limit", queueLimit, "jobs that may wait, in all; more requests to run are refused with 429; 0: any number")
	drain := or("drain", "30s")
	fs.StringVar(&drain, "drain", drain, "how long a stop waits for running jobs before it hands them back")
	retention := or("retention-days", "30")
	fs.StringVar(&retention, "retention-days", retention, "days that completed jobs are kept")
	var limits, maxLimits string
	fs.StringVar(&limits, "limits", or("limits", ""), limitsUsage)
	fs.StringVar(&maxLimits, "max-limits", or("max-limits", ""), maxLimitsUsage)
	fs.BoolVar(&c.example, "example", or("example", "") != "", "run the example once when ready")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("serve takes no argument %q; see millrace serve --help", fs.Arg(0))
	}
	return c, errors.Join(c.check(numbers{slots, drain, retention, lease, queueLimit, dedicated}), c.checkLimits(limits, maxLimits))
}

// numbers are the flags that are checked as text.
type numbers struct{ slots, drain, retention, lease, queueLimit, dedicated string }

// minLease leaves a slow database or a busy host the time for a few heartbeats.
const minLease = 2 * time.Second

func (c *config) check(n numbers) error {
	slots, drain, retention := n.slots, n.drain, n.retention
	var errs []error
	var err error
	if u, err := url.Parse(c.publicURL); c.publicURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		errs = append(errs, fmt.Errorf("--public-url %q: give a URL such as https://mill.example.org", c.publicURL))
	}
	if c.lease, err = time.ParseDuration(n.lease); err != nil || c.lease < minLease {
		errs = append(errs, fmt.Errorf("--lease %q: give a duration of at least %s, such as 30s", n.lease, minLease))
	}
	if c.takes("") {
		errs = append(errs, fmt.Errorf("--tags %q: there is an empty tag; separate tags by single commas", c.tags))
	}
	if c.slots, err = strconv.Atoi(slots); err != nil || c.slots < 0 {
		errs = append(errs, fmt.Errorf("--slots %q: give a number of jobs, 0 for automatic", slots))
	}
	if n.dedicated == "auto" {
		c.dedicated = c.processSlots()
	} else if c.dedicated, err = strconv.Atoi(n.dedicated); err != nil || c.dedicated < 0 {
		errs = append(errs, fmt.Errorf("--dedicated %q: give a number of processes, 0 for none, or auto", n.dedicated))
	}
	if c.queueLimit, err = strconv.ParseInt(n.queueLimit, 10, 64); err != nil || c.queueLimit < 0 {
		errs = append(errs, fmt.Errorf("--queue-limit %q: give a number of jobs, 0 for any number", n.queueLimit))
	}
	if c.drain, err = time.ParseDuration(drain); err != nil || c.drain < 0 {
		errs = append(errs, fmt.Errorf("--drain %q: give a duration such as 30s", drain))
	}
	if c.retention, err = strconv.Atoi(retention); err != nil || c.retention < 1 {
		errs = append(errs, fmt.Errorf("--retention-days %q: give a number of days, at least 1", retention))
	}
	if c.isolation != "full" && c.isolation != "nsjail" && c.isolation != "none" {
		errs = append(errs, fmt.Errorf("--isolation %q: use full, nsjail or none", c.isolation))
	}
	errs = append(errs, c.network.check())
	if c.log != "json" && c.log != "console" {
		errs = append(errs, fmt.Errorf("--log %q: use json or console", c.log))
	}
	if c.data, err = filepath.Abs(c.data); err != nil {
		errs = append(errs, fmt.Errorf("--data: %w", err))
	}
	c.data = resolved(c.data) // a link may lead out of a folder that is closed to the unprivileged daemon
	return errors.Join(errs...)
}

// defaultTags stands for the tags of the languages that run here, of dependency jobs and of noop jobs.
const defaultTags = "default"

// takes says whether --tags names tag.
func (c *config) takes(tag string) bool {
	for t := range strings.SplitSeq(c.tags, ",") {
		if strings.TrimSpace(t) == tag {
			return true
		}
	}
	return false
}

// defaultData is where packages keep it for root, and in the home folder for everybody else.
func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/millrace"
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "millrace")
	}
	return "millrace-data"
}

// The default budget: jobs wait for I/O as often as they compute, so a core bears several; each is expected to need this much
// memory although it may use more.
const (
	slotsPerCore  = 4
	memoryPerSlot = 512 << 20
)

// processSlots is the number of sandboxed jobs that run at once.
func (c *config) processSlots() int {
	if c.slots > 0 {
		return c.slots
	}
	n := slotsPerCore * runtime.NumCPU()
	if total := memoryTotal(); total > 0 {
		n = min(n, int(total*3/4/memoryPerSlot))
	}
	return max(n, 1)
}

// memoryTotal reads the host's memory in bytes, 0 when it cannot.
func memoryTotal() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
	}
	return 0
}
