// Package timerslack decides how late the kernel may fire the timers of a process.
//
// Go's runtime has a thread that looks after the others. Whenever a process that was idle gets something to do, that thread sleeps for
// twenty microseconds at a time, fifty times, before it sleeps longer. In a daemon that runs some hundred jobs a second, each in
// bursts of a millisecond or two, these are thousands of timer interrupts a second, which on a virtual machine cost
// a fifth to a third of it: so many more small jobs a second run without them. No setting of the runtime's changes it, but the kernel
// adds the slack of the thread to each of its sleeps (prctl(2), PR_SET_TIMERSLACK).
package timerslack

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Wide is how late the timers of a process that called Widen may be: less than anybody notices in a daemon whose shortest is
	// two milliseconds.
	Wide = time.Millisecond
	// Usual is how late the kernel lets the timers of any process be.
	Usual = 50 * time.Microsecond
)

// Widen lets all timers of this process, and those of what it starts, be late by Wide. A thread has the slack of the thread that made it, and
// the runtime's own are there before main, so the process becomes the same program anew, with the same number: call it before anything else.
// It returns when nothing is left to do or when it cannot be done; the process is then as it was.
func Widen() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	had, err := get()
	if err != nil || had >= Wide {
		return err
	}
	if err := set(Wide); err != nil {
		return err
	}
	if now, err := get(); err != nil || now < Wide { // a thread of a real-time policy has none, whatever is set
		return err
	}
	err = unix.Exec("/proc/self/exe", os.Args, os.Environ())
	_ = set(had)
	return fmt.Errorf("become a process with another timer slack: %w", err)
}

// Started runs start on a thread whose children have that slack: Usual for programs that are not this one.
func Started(slack time.Duration, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	had, err := get()
	if err != nil || had == slack {
		return start()
	}
	if err := set(slack); err == nil {
		defer set(had) //nolint:errcheck // it was this before
	}
	return start()
}

func get() (time.Duration, error) {
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0, fmt.Errorf("read the timer slack: %w", err)
	}
	return time.Duration(n), nil
}

func set(d time.Duration) error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0); err != nil {
		return fmt.Errorf("set the timer slack: %w", err)
	}
	return nil
}
