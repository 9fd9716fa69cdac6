package slot

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox/told"
)

// watch reads what the kernel tells of conversations and hands it to the slots. The kernel tells before the packet leaves, so
// after sync everything is noted that a process which has ended contacted.
type watch struct {
	file *os.File
	done sync.WaitGroup

	mu    sync.Mutex
	links map[int]*contacts
	buf   []byte
	lost  int // times that the kernel had more to tell than there was room for
}

func newWatch(f *os.File) *watch {
	w := &watch{file: f, links: map[int]*contacts{}, buf: make([]byte, 64<<10)}
	raw, err := f.SyscallConn()
	if err != nil {
		return w // cannot be: it is open
	}
	w.done.Go(func() {
		_ = raw.Read(func(fd uintptr) bool { // ends when the file is closed
			w.drain(int(fd))
			return false
		})
	})
	return w
}

func (w *watch) drain(fd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n, _, err := unix.Recvfrom(fd, w.buf, unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.ENOBUFS:
			w.lost++
			continue
		default:
			return
		}
		told.Parse(w.buf[:n], func(m told.Message) {
			if c := w.links[m.Link]; c != nil {
				c.told(m)
			}
		})
	}
}

// sync notes what has been told until now.
func (w *watch) sync() {
	if raw, err := w.file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { w.drain(int(fd)) })
	}
}

func (w *watch) add(link int, c *contacts) {
	w.mu.Lock()
	w.links[link] = c
	w.mu.Unlock()
}

// remove forgets c, unless the link is another's by now.
func (w *watch) remove(link int, c *contacts) {
	w.mu.Lock()
	if w.links[link] == c {
		delete(w.links, link)
	}
	w.mu.Unlock()
}

func (w *watch) close() {
	_ = w.file.Close()
	w.done.Wait()
}
