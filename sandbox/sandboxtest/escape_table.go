package sandboxtest

import (
	"maps"
	"slices"

	"github.com/millrace/millrace/sandbox"
)

// reach is what a network lets a process get at.
type reach uint

const (
	hostLoopback reach = 1 << iota // services on the host's loopback addresses
	hostAddress                    // services on its other addresses
	hostAbstract                   // abstract Unix sockets, which live in the network namespace
	neighbour                      // sockets of other slots
	linkLocal                      // 169.254/16, where clouds tell secrets
	outside                        // everybody else
	everything   = hostLoopback | hostAddress | hostAbstract | neighbour | linkLocal | outside
)

// networks says what each mode promises to let through, what it does not name being promised to be shut, and which wall an
// isolator must not lack to have the mode at all. A new mode is a new line.
var networks = map[sandbox.Network]struct {
	through reach
	needs   string
}{
	sandbox.NetworkNone:   {},
	sandbox.NetworkEgress: {through: outside, needs: sandbox.LackEgress},
	sandbox.NetworkHost:   {through: everything},
}

// Has says whether an isolator of that strength has slots of network n.
func Has(s sandbox.Strength, n sandbox.Network) bool {
	needs := networks[n].needs
	return needs == "" || !s.Lacking(needs)
}

// trait is what is special about a probe.
type trait struct {
	through reach  // a network that lets this through makes no promise about it
	users   bool   // only where a slot has users of its own
	alone   string // why no control can be had
	lacks   string // a wall without which nothing is promised, and which not every host lets an isolator have
}

// Networks lists the modes that the suite knows.
func Networks() []sandbox.Network { return slices.Sorted(maps.Keys(networks)) }

const (
	noControl = "there is nothing of the kind without walls"
	ownState  = "a new process has this new even without walls"
)

// traits of the probes in testdata that are not plain: shut in every mode and network, and working without walls.
var traits = map[string]trait{
	// Without users of its own a slot has one: the daemon's, seen inside as 0.
	"setuid": {users: true}, "setgid": {users: true}, "setgroups": {users: true}, "groups": {users: true}, "chown": {users: true},

	"loopback": {through: hostLoopback}, "loopback_alias": {through: hostLoopback}, "any_address": {through: hostLoopback},
	"loopback6": {through: hostLoopback}, "mapped6": {through: hostLoopback}, "host_address": {through: hostAddress},
	"abstract_socket": {through: hostAbstract}, "proc_net_host": {through: hostAbstract},
	"neighbour_tcp": {through: neighbour}, "neighbour_abstract": {through: neighbour}, "metadata": {through: linkLocal},
	"interfaces": {through: outside}, "ping": {through: outside},

	// What the languages try in ways of their own.
	"socket_loopback": {through: hostLoopback}, "bun_loopback": {through: hostLoopback}, "go_loopback": {through: hostLoopback},
	"sh_dev_tcp": {through: hostLoopback}, "ctypes_setuid": {users: true}, "ffi_setuid": {users: true}, "os_setgroups": {users: true},
	"ctypes_mount": {alone: "it would mount on the host"}, "ffi_ptrace": {alone: "it would stop the program itself"},

	"write_internals": {alone: noControl}, "write_lib": {alone: noControl}, "write_deps": {alone: noControl},
	"work_dev":  {alone: "this host's folder for temporary files may be nodev itself"},
	"work_suid": {alone: "this host's folder for temporary files may be nosuid itself"},
	"settime":   {alone: "it would set this host's clock"}, "adjtimex": {alone: "it would set this host's clock"},

	"environment": {alone: ownState}, "umask": {alone: ownState}, "limits": {alone: ownState}, "niceness": {alone: ownState},
	"signals": {alone: ownState}, "policy": {alone: ownState}, "slack": {alone: ownState}, "descriptor": {alone: ownState},

	"forged_credentials": {users: true}, "loopback_udp": {through: hostLoopback},
	"settimeofday": {alone: "it would set this host's clock"}, "clock_adjtime": {alone: "it would set this host's clock"},
}

// The bombs that are not plain. Their names are their own.
var bombTraits = map[string]trait{
	"memory": {lacks: sandbox.LackMemory}, "memfd": {lacks: sandbox.LackMemory}, "shared_memory": {lacks: sandbox.LackMemory},
	"sysv_shm": {lacks: sandbox.LackMemory}, "forks": {lacks: sandbox.LackPids}, "threads": {lacks: sandbox.LackPids},
}
