// Millrace-jail is the small helper that builds sandbox slots for the daemon: the only part of Millrace that runs as root, and
// the only one that is linked with C. It opens no network connection, reads no configuration and knows no tenant's data; all it
// does is what sandbox/jail describes, for one daemon, over one inherited socket.
//
//	millrace-jail run   [flags] --uid U --gid G -- PROGRAM ARGS...   starts the daemon as an unprivileged user and serves it
//	millrace-jail serve [flags] --fd N                               serves whoever holds the other end of descriptor N
//
// When the daemon ends, or dies, every slot is destroyed and the helper ends too.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/millrace/millrace/sandbox/oci"
)

func main() {
	oci.Init()           // first: inside a new slot this program is something else
	syscall.Umask(0o022) // users of slots, who own nothing, must be able to look into what we make
	status, err := command(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "millrace-jail: %v\n", err)
	}
	os.Exit(status)
}

var errUsage = errors.New("usage: millrace-jail run|serve [flags] [-- program args...]; see millrace-jail run -h")

// command returns the exit status.
func command(args []string) (int, error) {
	if len(args) == 0 {
		return 64, errUsage
	}
	switch args[0] {
	case "run":
		return run(args[1:])
	case "serve":
		return serve(args[1:])
	}
	return 64, errUsage
}
