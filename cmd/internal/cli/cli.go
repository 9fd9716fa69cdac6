// Package cli is the command line: it finds the verb, reads its flags, asks the daemon through web/client and prints.
//
//	millrace VERB [flags] [arguments]        flags and arguments may come in any order
//
// What is for people goes to standard error (logs, progress, errors), what is for programs to standard output. With --json
// every verb writes exactly one JSON value to standard output, also when it fails: {"error": "..."}. The exit status is 0 when
// all went well, 1 when it did not (a failed job included), 2 when the command line was wrong.
//
// The daemon is looked for in this order: --socket, --server, MILLRACE_SOCKET, MILLRACE_SERVER, the data folder of
// MILLRACE_DATA, then the usual data folders (usualSockets). On the socket the kernel says who asks; over TCP a token does
// (--token or MILLRACE_TOKEN).
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Version is the product's, set by the linker.
var Version = "dev"

// Config is what the commands need to know of the product. Registry and Serve must be set.
type Config struct {
	Registry *runtimes.Registry
	// Serve runs the daemon and returns the exit status.
	Serve func(args []string, stdout, stderr io.Writer) int
	// Lib finds the folder of the product's helpers, for doctor.
	Lib func() (string, error)
	// Strength, when set, lets doctor say what the isolator itself says.
	Strength func(context.Context) (sandbox.Strength, error)
}

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one verb. Flags registers its own flags; Run does it.
type command struct {
	name  string // "script push"
	usage string // what follows the name
	short string // one line for the list
	long  string // more, for its own help
	new   func(c *call) func(ctx context.Context) error
}

// commands is the contents page. serve is beside it because it has flags of its own.
func commands() []command {
	return []command{doctorCommand, runCommand,
		scriptPush, scriptList, scriptGet, scriptHistory, scriptArchive,
		flowRun, flowPreview, flowRestart, flowApprove, flowDeny, flowCancel, flowPush, flowValidate, flowList, flowShow, flowHistory, flowArchive,
		jobList, jobGet, jobLogs, jobCancel, jobWhy, jobRerun,
		batchRun, batchList, batchGet, batchWait, batchCancel, batchResults, batchRerun,
		scheduleList, scheduleGet, scheduleCreate, scheduleUpdate, schedulePush, scheduleDelete, scheduleEnable, scheduleDisable,
		schedulePause, scheduleResume, scheduleTicks, schedulePreview, scheduleRun, scheduleBackfill,
		calendarPut, calendarList, calendarGet, calendarDelete, workersCommand, workerList,
		variableSet, variableGet, variableList, variableDelete, resourceSet, resourceGet, resourceList, resourceDelete,
		memberList, memberAdd, memberRemove, groupList, groupCreate, groupAdd, groupRemove, groupDelete,
		tokenCreate, tokenList, tokenDelete, versionCommand}
}

// call is one use of a command: the world around it and its flags.
type call struct {
	cfg            Config
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	clock          func() time.Time // nil: time.Now

	flags *flag.FlagSet
	args  []string // what is no flag
	json  bool
	to    connection
}

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func wrongUsage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSaid says that everything has been said and only the exit status is left.
var errSaid = errors.New("failed")

// Main runs the command line args (without the program's name) and returns the exit status.
func Main(args []string, cfg Config) int {
	if len(args) > 0 && args[0] == "serve" {
		return cfg.Serve(args[1:], os.Stdout, os.Stderr) // has its own way with signals
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &call{cfg: cfg, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv}
	return c.main(ctx, args)
}

func (c *call) main(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "help" {
		args = append(args[1:], "--help")
	}
	cmd, rest, err := find(args)
	if err != nil {
		fmt.Fprintf(c.stderr, "millrace: %v\n", err)
		return exitUsage
	}
	if cmd == nil {
		overview(c.stdout, rest)
		return exitOK
	}
	c.flags = flag.NewFlagSet("millrace "+cmd.name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard) // errors and usage are printed here, once
	c.flags.BoolVar(&c.json, "json", false, "one JSON value on standard output")
	do := cmd.new(c)
	switch err := c.parse(rest); {
	case errors.Is(err, flag.ErrHelp):
		c.help(*cmd)
		return exitOK
	case err != nil:
		c.json = c.json || slices.Contains(rest, "--json") // which may stand behind the mistake
		return c.fail(cmd, &usageError{err.Error()})
	}
	if err := do(ctx); err != nil {
		return c.fail(cmd, err)
	}
	return exitOK
}

// parse reads flags wherever they stand; after "--" there are none.
func (c *call) parse(args []string) error {
	for {
		if err := c.flags.Parse(args); err != nil {
			return err
		}
		rest := c.flags.Args()
		if len(rest) == 0 {
			return nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			c.args = append(c.args, rest...)
			return nil
		}
		c.args = append(c.args, rest[0])
		args = rest[1:]
	}
}

// fail prints what went wrong and returns the exit status.
func (c *call) fail(cmd *command, err error) int {
	status := exitFailed
	if u := (*usageError)(nil); errors.As(err, &u) {
		status = exitUsage
	}
	if errors.Is(err, errSaid) {
		return status
	}
	if c.json {
		if c.printJSON(map[string]string{"error": err.Error()}) == nil {
			return status
		}
	}
	fmt.Fprintf(c.stderr, "millrace %s: %v\n", cmd.name, err)
	if status == exitUsage {
		fmt.Fprintf(c.stderr, "Usage: millrace %s %s   (millrace %s --help says more)\n", cmd.name, cmd.usage, cmd.name)
	}
	return status
}

// find returns the command that args begin with and what follows; a nil command asks for the list of commands that begin
// with the returned words.
func find(args []string) (*command, []string, error) {
	wantsHelp := func(s string) bool { return s == "-h" || s == "-help" || s == "--help" }
	if len(args) == 0 || wantsHelp(args[0]) {
		return nil, nil, nil
	}
	family := false
	for _, cmd := range commands() {
		words := strings.Fields(cmd.name)
		if args[0] != words[0] {
			continue
		}
		if len(words) == 1 {
			return &cmd, args[1:], nil
		}
		family = true
		if len(args) > 1 && args[1] == words[1] {
			return &cmd, args[2:], nil
		}
	}
	switch {
	case family && (len(args) == 1 || wantsHelp(args[1])):
		return nil, args[:1], nil
	case family:
		return nil, nil, fmt.Errorf("there is no %q; millrace %s --help lists what there is", strings.Join(args[:2], " "), args[0])
	}
	return nil, nil, fmt.Errorf("there is no %q; millrace --help lists what there is", args[0])
}

// overview lists the commands of a family, or all.
func overview(w io.Writer, family []string) {
	if len(family) == 0 {
		fmt.Fprintf(w, "Millrace runs scripts as sandboxed, durable jobs.\n\n")
		fmt.Fprintf(w, "  %-18s %s\n", "serve", "start the daemon")
	}
	for _, cmd := range commands() {
		if len(family) == 0 || strings.HasPrefix(cmd.name, family[0]+" ") {
			fmt.Fprintf(w, "  %-18s %s\n", cmd.name, cmd.short)
		}
	}
	fmt.Fprintf(w, "\nmillrace COMMAND --help says more about one.\n")
}

func (c *call) help(cmd command) {
	fmt.Fprintf(c.stdout, "Usage: millrace %s\n\n%s\n", strings.TrimSpace(cmd.name+" "+cmd.usage), sentence(cmd.short))
	if cmd.long != "" {
		fmt.Fprintf(c.stdout, "%s\n", cmd.long)
	}
	fmt.Fprintf(c.stdout, "\nFlags:\n")
	c.flags.SetOutput(c.stdout)
	c.flags.PrintDefaults()
}

// sentence makes a line of the list the first line of a help.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// want checks the number of arguments; names say what they are, the last may be repeated when it ends in "...".
func (c *call) want(names ...string) error {
	for i, name := range names {
		if i >= len(c.args) {
			return wrongUsage("%s is missing", strings.TrimSuffix(name, "..."))
		}
	}
	if len(c.args) > len(names) && (len(names) == 0 || !strings.HasSuffix(names[len(names)-1], "...")) {
		return wrongUsage("%q is one argument too many", c.args[len(names)])
	}
	return nil
}
