package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rs/zerolog"
	"github.com/sirupsen/logrus"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/jail"
	"github.com/millrace/millrace/sandbox/oci"
)

// options are those of both modes.
type options struct {
	uid, gid   int
	fd         int
	lib, cache string
	allow      []string
	state      string
	cgroup     string
	uidBase    int
	gpuRoot    string
	egress     egress
	verbose    bool
	program    []string
}

func parse(name string, args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("millrace-jail "+name, flag.ContinueOnError)
	f.IntVar(&o.uid, "uid", os.Geteuid(), "user of the daemon: owner of the cache folder, and in run mode what the program runs as")
	f.IntVar(&o.gid, "gid", os.Getegid(), "group of the daemon")
	f.IntVar(&o.fd, "fd", 0, "serve: the inherited socket")
	f.StringVar(&o.lib, "lib", "", "folder with the forker and what slots are shown of the product (required)")
	f.StringVar(&o.cache, "cache", "", "folder of built things; made and given to the daemon when missing")
	f.Func("allow", "file or folder that slots may be shown read-only; may be repeated", func(s string) error {
		o.allow = append(o.allow, s)
		return nil
	})
	f.StringVar(&o.state, "state", defaultState(), "folder for this helper alone")
	f.StringVar(&o.cgroup, "cgroup-parent", "", "control group below which slots get theirs (default /millrace)")
	f.StringVar(&o.gpuRoot, "gpu-root", "/", "folder below which GPUs are looked for, as /proc, /dev and /sys show them; another one is for tests")
	f.IntVar(&o.uidBase, "uid-base", oci.DefaultUIDBase, "first host user of slots")
	o.egress.flags(f)
	f.BoolVar(&o.verbose, "verbose", false, "log every request that is refused")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.program = f.Args()
	switch {
	case o.lib == "" || !filepath.IsAbs(o.lib):
		return o, errors.New("--lib must name a folder by its absolute path")
	case o.egress.check() != nil:
		return o, o.egress.check()
	case name == "serve" && (o.fd < 3 || len(o.program) > 0):
		return o, errors.New("serve needs --fd, 3 or higher, and no program")
	case name == "run" && len(o.program) == 0:
		return o, errUsage
	case name == "run" && os.Geteuid() != 0 && (o.uid != os.Geteuid() || o.gid != os.Getegid()):
		return o, errors.New("only root can run the program as somebody else")
	}
	return o, nil
}

// defaultState is below /run for root and private to the user for others.
func defaultState() string {
	if os.Geteuid() == 0 {
		return "/run/millrace"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "millrace")
	}
	return filepath.Join(os.TempDir(), "millrace-"+strconv.Itoa(os.Geteuid()))
}

// host opens the machine as the options say.
func host(o options, log zerolog.Logger) (*oci.Host, error) {
	logrus.SetOutput(io.Discard) // libcontainer's; what goes wrong also comes back as an error
	if o.cache != "" {
		if err := makeCache(o); err != nil {
			return nil, err
		}
	}
	return oci.New(oci.Config{
		State: o.state, Forker: filepath.Join(o.lib, "forker"),
		Allow: append([]string{o.lib}, o.allow...), Cache: o.cache, OwnerUID: o.uid, OwnerGID: o.gid,
		CgroupParent: o.cgroup, UIDBase: o.uidBase, GPURoot: o.gpuRoot, Egress: o.egress.network, API: o.egress.api, Log: log,
	})
}

// makeCache makes a cache folder that is missing; the daemon, which it is for, may not be able to.
func makeCache(o options) error {
	if err := os.MkdirAll(filepath.Dir(o.cache), 0o755); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	err := os.Mkdir(o.cache, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil && os.Geteuid() == 0 {
		err = os.Lchown(o.cache, o.uid, o.gid)
	}
	if err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	return nil
}

func logger(o options) zerolog.Logger {
	level := zerolog.ErrorLevel
	if o.verbose {
		level = zerolog.DebugLevel
	}
	return zerolog.New(os.Stderr).Level(level).With().Timestamp().Str("part", "jail").Logger()
}

// adapter gives the jail's server the slots of oci.
type adapter struct{ *oci.Host }

func (a adapter) Open(ctx context.Context, t sandbox.Template, l sandbox.Limits) (jail.Place, error) {
	s, err := a.Host.Open(ctx, t, l)
	if err != nil {
		return nil, err
	}
	return place{s}, nil
}

type place struct{ *oci.Slot }

func (p place) Users() (uid, gid int) { return p.UID, p.GID }

func (p place) Files() (control, log *os.File, meters map[string]*os.File) {
	return p.Control, p.Log, p.Meters
}
