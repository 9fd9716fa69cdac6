package slot

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"github.com/millrace/millrace/sandbox/cgroup"
)

// What the kernel has cached for a process stays on the account of its slot. Pages of files are given up as soon as the next
// process needs the memory. What was kept of the files' names and inodes is not: it is freed only after a grace period (RCU), so
// that the kernel gives up, and kills, before it has what it set free. Nor can a limit be set below it.

// When a quarter of a process's memory is in use before it starts, at most an eighth of it may be the kernel's, beside what that would
// not give back.
const (
	mostUsed = 4
	mostKept = 8
)

// A grace period takes some milliseconds; longer than reclaimWait no start is kept for it.
const (
	reclaimTick = 3 * time.Millisecond
	reclaimIdle = 30 * time.Millisecond
	reclaimWait = 500 * time.Millisecond
)

// makeRoom gives back what the kernel keeps for processes that have ended, where it would be in the way of one with that limit of
// memory, in bytes. It reads one file, and nothing else where there is room.
func (m *meter) makeRoom(limit int64) {
	f := m.files[cgroup.MeterReclaim]
	if f == nil || m.number(cgroup.MeterUsed) < limit/mostUsed {
		return
	}
	kept, start := m.kernel(), time.Now()
	m.rest = min(m.rest, kept)
	for freed := start; kept > m.rest+limit/mostKept && time.Since(start) < reclaimWait; {
		reclaim(f, m.number(cgroup.MeterUsed))
		time.Sleep(reclaimTick)
		now := m.kernel()
		switch {
		case now < kept:
			freed = time.Now()
		case time.Since(freed) > reclaimIdle: // what is left is in use, and not to be asked for again
			m.rest = now
		}
		kept = now
	}
}

// reclaim writes what version 2 wants, a number of bytes; version 1 accepts anything. An error says that it was less than that,
// which was to be expected.
func reclaim(f *os.File, n int64) { _, _ = f.WriteAt(strconv.AppendInt(nil, n, 10), 0) }

// kernel is what the kernel holds for the group, in bytes.
func (m *meter) kernel() int64 {
	var buf [8192]byte
	b := m.text(cgroup.MeterKernel, buf[:])
	if bytes.IndexByte(b, ' ') < 0 {
		return integer(b)
	}
	return value(b, "slab_reclaimable ")
}
