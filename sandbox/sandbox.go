// Package sandbox knows processes: a Template and a Spec in, an Exit out. It has never heard of a language or a job.
//
// A Template says what every process of a slot sees (root, mounts, network); a Slot is a place built from a Template in
// which one process at a time runs; a Spec describes that process. This package holds the types only.
//
//	Isolator.Open(Template) -> Slot      slow (tens of ms), off a job's path
//	Slot.Start(Spec)        -> Process   about a millisecond: clone, confine, exec
//	Process.Wait            -> Exit      the whole process tree is gone when it returns
//
// What else a Slot or a Process may be able to do is an optional interface of its own, asked for by a type assertion: Holder and
// Teller (held.go), Networked (contact.go), Settler.
//
// Who implements it, in the order to read it:
//
//	sandbox/direct       plain processes, for --isolation=none: the contract with nothing behind it
//	sandbox/slot         the isolator with walls, in the daemon, which needs no privilege. It talks to two others:
//	  sandbox/jail         the helper with root's powers, which builds slots: the protocol and its two ends
//	  sandbox/forker       the C program in each slot, which starts one process after the other there: its protocol and its client
//	sandbox/nsjail       the same contract by a program that some hosts have already
//	sandbox/sandboxtest  one suite for all of them: Exercise (do processes run as asked?) and Escape (can they get out?)
//
// What a slot is made of, in the helper: sandbox/oci puts it together from sandbox/rootfs (files), sandbox/cgroup (limits and
// meters), sandbox/seccomp (system calls), sandbox/network (the way out) and sandbox/gpu (devices). In the daemon sandbox/resolver
// answers a slot's names and sandbox/told reads what the kernel says of its conversations. sandbox/stdio has the descriptors that
// join a process to its caller.
package sandbox

import (
	"context"
	"io"
	"net"
	"os"
	"time"
)

// Network says what a process can reach.
type Network string

const (
	// NetworkNone is a network namespace of the slot's own with nothing but a loopback interface.
	NetworkNone Network = "none"
	// NetworkEgress is a network namespace of the slot's own from which public addresses can be contacted: not the host, not its
	// loopback, not other slots, not the ranges that the administrator refuses. Template.Allow narrows it further.
	NetworkEgress Network = "egress"
	// NetworkHost shares the host's network.
	NetworkHost Network = "host"
)

// Bind makes a host file or directory visible inside a slot. Read-only, nosuid and nodev unless Writable.
type Bind struct {
	Source   string // absolute path on the host
	Target   string // absolute path inside; parents are made
	Writable bool
}

// Template is the shape of a slot. Same Key, same walls. Every slot sees, besides Binds, the read-only base system
// (/usr, /bin, /lib, a minimal /etc, /dev with null, zero, full, random, urandom, its own /proc) and nothing else.
type Template struct {
	Name    string // short, for logs and cgroup names: "exec", "python3"
	Network Network
	// Allow, when not nil, is all that may be contacted from a slot with NetworkEgress; entries as ParseAllow reads them.
	Allow []string
	Binds []Bind
	// Zygote is the argv of a process that embeds the forker (a booted interpreter that forks jobs from itself). Empty: the
	// plain C forker, which execs Spec.Argv.
	Zygote []string
	// ZygoteEnv is the whole environment of the zygote. Never a secret: it is shared by all jobs of the slot.
	ZygoteEnv []string
	// Build marks slots that run build recipes: their processes all have the one builder uid, so that what they write into
	// writable binds has one owner.
	Build bool
	// Calls are system calls that processes of the slot may use beyond those that every slot allows; see sandbox/seccomp for
	// which can be asked for.
	Calls []string
	// Tenant separates slots that would otherwise be equal; slots are never shared by two tenants. Empty: any.
	Tenant string
	// Devices are IDs of sandbox/gpu. The slot sees these devices and what belongs to them, and no other slot must have them at the
	// same time: that is the caller's to see to.
	Devices []string
	// Shared names a folder that a Sharer has made, which the slot's processes see at SharedTarget. Empty: none.
	Shared string
}

// Limits bounds one process and everything it starts. Zero fields mean the default of DefaultLimits.
type Limits struct {
	Memory    int64         // bytes of RAM, tmpfs included
	Swap      int64         // bytes of swap beyond Memory; zero: none
	Pids      int           // processes and threads
	CPU       float64       // cores
	Wall      time.Duration // from Start; enforced by the caller with Kill
	WorkSize  int64         // bytes of the private tmpfs at /work
	OpenFiles int
	Output    int64 // bytes of stdout+stderr; enforced by the caller with Kill
	IO        int64 // bytes a second read from, and as many written to, each disk; zero: no bound
}

// DefaultLimits is what a job gets when nothing else is said.
var DefaultLimits = Limits{
	Memory: 1 << 30, Pids: 256, CPU: 0, Wall: 15 * time.Minute, WorkSize: 512 << 20, OpenFiles: 1024, Output: 20 << 20,
}

// WithDefaults fills the zero fields of l from DefaultLimits. CPU, Swap and IO stay 0: no quota, no swap, no bound.
func (l Limits) WithDefaults() Limits {
	d := DefaultLimits
	if l.Memory == 0 {
		l.Memory = d.Memory
	}
	if l.Pids == 0 {
		l.Pids = d.Pids
	}
	if l.CPU == 0 {
		l.CPU = d.CPU
	}
	if l.Wall == 0 {
		l.Wall = d.Wall
	}
	if l.WorkSize == 0 {
		l.WorkSize = d.WorkSize
	}
	if l.OpenFiles == 0 {
		l.OpenFiles = d.OpenFiles
	}
	if l.Output == 0 {
		l.Output = d.Output
	}
	return l
}

// File is written into the private work folder before the process starts.
type File struct {
	Name string // relative to /work, no ".."
	Data []byte
	Mode os.FileMode // zero: 0644
}

// Spec describes one process. It runs as PID 1 (or as the child of a minimal PID 1, see Init) of a PID namespace of its own,
// in the work folder /work, without capabilities.
type Spec struct {
	// Argv is the program and its arguments, paths as seen inside. Empty in a slot with a Zygote: the forked child runs
	// the zygote's own job function.
	Argv []string
	// Exec, when set, is the program: it is executed by descriptor and Argv[0] is only its name. Start does not close it.
	Exec *os.File
	// Env is the whole environment; nothing is inherited. Ignored for zygote children.
	Env    []string
	Files  []File
	Limits Limits
	// Init keeps a minimal init as PID 1 that runs Argv as its child, reaps orphans and, when Argv ends, sends the files
	// named in Collect (relative to /work) that exist. For programs that do not speak frames, such as shell scripts.
	Init bool
	// Collect names one file that the init reads back when the program ends; see Process.Collected.
	Collect string
}

// Exit says how a process ended. The zero Exit is a clean one.
type Exit struct {
	Code   int    // exit status; 128+Signal when killed by a signal
	Signal int    // 0 when it exited by itself
	OOM    bool   // the kernel killed it, or a child of it, for exceeding Limits.Memory
	Error  string // the process could not be started as asked: what failed, with errno text. Empty otherwise
	Usage  Usage
}

// Process is a started process.
type Process interface {
	// Conn is the process's descriptor 3: a stream socket to the caller.
	Conn() net.Conn
	// Output is its stdout and stderr, in one stream; EOF when every holder of the write end is gone.
	Output() io.Reader
	// Collected returns the file named by Spec.Collect after Wait; false when it does not exist. At most 16 MiB.
	Collected() ([]byte, bool)
	// Wait returns when the process and all its descendants are gone. An error means that its fate is unknown (the slot broke).
	Wait(ctx context.Context) (Exit, error)
	// Kill ends the whole process tree at once; safe at any time, more than once.
	Kill() error
	// Close kills if needed and releases descriptors; idempotent.
	Close() error
}

// Settler is a Process that can tell what it has done before it has ended, for who only waits for its answer.
type Settler interface {
	// Settle lets Output end as soon as what was written until now has been read, whether or not the process lives.
	Settle()
	// UsageNow is what was consumed until now; fields that the host cannot tell are zero.
	UsageNow() Usage
}

// Slot runs one process at a time; Start before the last Process has been waited for is an error.
type Slot interface {
	Start(ctx context.Context, s Spec) (Process, error)
	// Done is closed when the slot broke (its forker died) and must be replaced.
	Done() <-chan struct{}
	Close() error
}

// Isolator opens slots. Open returns with a slot that can start a process at once, or with nothing left behind.
type Isolator interface {
	Open(ctx context.Context, t Template) (Slot, error)
	Strength() Strength
	Close() error
}

// Strength says how good an isolator's walls are on this host.
type Strength struct {
	Mode  string // "full", "rootless", "nsjail" or "none"
	Lacks []Lack // what full isolation would have and this has not
}

// Lack is one missing wall.
type Lack struct {
	What string // "memory limits"
	Why  string // "no write access to the cgroup tree"
	Fix  string // "start the daemon as root, or install the package"
}
