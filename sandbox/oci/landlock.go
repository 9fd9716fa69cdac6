package oci

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// leastLandlock is the version that the forker uses; see sandbox/forker/csrc/landlock.c.
const leastLandlock = 2

// landlockLack says why jobs have no Landlock domain on this host; nil when they have one.
func landlockLack() []sandbox.Lack {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return lackOf(int(version), errno)
}

func lackOf(version int, errno unix.Errno) []sandbox.Lack {
	lack := sandbox.Lack{What: sandbox.LackLandlock}
	switch {
	case errors.Is(errno, unix.EOPNOTSUPP):
		lack.Why = "the kernel has Landlock, but it was not switched on when the machine started"
		lack.Fix = "add landlock to the list in the kernel parameter lsm= and restart the machine"
	case errno != 0:
		lack.Why = fmt.Sprintf("the kernel was built without Landlock, or this container does not allow it (%v)", errno)
		lack.Fix = "use a kernel that has it: those of Debian 12, Ubuntu 22.10, RHEL 9.4 and later do"
	case version < leastLandlock:
		lack.Why = fmt.Sprintf("the kernel's Landlock has version %d, which keeps programs from moving files between folders", version)
		lack.Fix = "use Linux 5.19 or later"
	default:
		return nil
	}
	return []sandbox.Lack{lack}
}
