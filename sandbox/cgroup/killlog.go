package cgroup

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// KillLog tells which processes the kernel killed for lack of memory. Groups only count them; the kernel's log names them, by the
// user that they ran as, and every slot has a user of its own. Its methods may be called from any goroutine.
type KillLog struct {
	fd int // /dev/kmsg, read without blocking

	mu   sync.Mutex
	last map[int]sandbox.Kill // by user; guarded by mu
}

const (
	// The kernel writes the line just after it has killed, so who has seen the death may have to wait a moment for it.
	killLogPatience = 100 * time.Millisecond
	// maxKills bounds what is kept of users that nobody asks about.
	maxKills = 4096
)

// OpenKillLog follows the kernel's log from now on. An error means that this process may not read it.
func OpenKillLog() (*KillLog, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the kernel's log: %w", err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open the kernel's log: %w", err)
	}
	return &KillLog{fd: fd, last: map[int]sandbox.Kill{}}, nil
}

// Take returns the latest process of uid that was killed since the last Take or Forget. It waits a moment for one.
func (l *KillLog) Take(uid int) (sandbox.Kill, bool) {
	for end := time.Now().Add(killLogPatience); ; {
		if k, ok := l.take(uid); ok {
			return k, true
		}
		left := time.Until(end)
		if left <= 0 {
			return sandbox.Kill{}, false
		}
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, int(left/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return sandbox.Kill{}, false
		}
	}
}

// Forget drops what is known of uid: it has a new owner.
func (l *KillLog) Forget(uid int) { l.take(uid) }

func (l *KillLog) take(uid int) (sandbox.Kill, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	k, ok := l.last[uid]
	delete(l.last, uid)
	return k, ok
}

// drain reads what the kernel has said since. Each read returns one record; one that was overwritten meanwhile is EPIPE.
func (l *KillLog) drain() {
	var buf [8 << 10]byte
	for {
		n, err := unix.Read(l.fd, buf[:])
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if uid, kill, ok := parseKill(buf[:n]); ok {
			if len(l.last) >= maxKills {
				clear(l.last)
			}
			l.last[uid] = kill
		}
	}
}

// killLine is how the kernel puts it since Linux 5.0. A process chooses its name, of at most 15 characters, which is too short to
// hold what follows it; the kernel escapes what is not printable.
var killLine = regexp.MustCompile(`^[^;\n]*;Memory cgroup out of memory: Killed process \d+ \((.*)\) total-vm:\d+kB, anon-rss:(\d+)kB, ` +
	`file-rss:(\d+)kB, shmem-rss:(\d+)kB, UID:(\d+) `)

func parseKill(record []byte) (uid int, k sandbox.Kill, ok bool) {
	m := killLine.FindSubmatch(record)
	if m == nil {
		return 0, k, false
	}
	for _, kb := range m[2:5] {
		n, err := strconv.ParseInt(string(kb), 10, 40)
		if err != nil {
			return 0, k, false
		}
		k.Memory += n << 10
	}
	uid, err := strconv.Atoi(string(m[5]))
	k.Command = string(m[1][:min(len(m[1]), 64)])
	return uid, k, err == nil
}

// Close ends the following.
func (l *KillLog) Close() error {
	if err := unix.Close(l.fd); err != nil {
		return fmt.Errorf("close the kernel's log: %w", err)
	}
	return nil
}
