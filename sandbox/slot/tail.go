package slot

import (
	"bytes"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

const (
	tailSize  = 4 << 10
	tailGrace = 5 * time.Second
)

// tail follows what a slot's init and zygote write: every line goes to the log, the last few KiB are kept, to explain a slot
// that did not become ready. Jobs have their own output; none of it comes this way.
type tail struct {
	file *os.File
	done chan struct{} // closed at the end of the file
	kept []byte        // written by run, read after done
}

func follow(f *os.File, log zerolog.Logger) *tail {
	t := &tail{file: f, done: make(chan struct{})}
	go t.run(log)
	return t
}

func (t *tail) run(log zerolog.Logger) {
	defer close(t.done)
	buf := make([]byte, 2048)
	for {
		n, err := t.file.Read(buf)
		if n > 0 {
			for line := range bytes.Lines(buf[:n]) {
				log.Debug().Str("line", strings.ToValidUTF8(string(bytes.TrimRight(line, "\n")), "?")).Msg("slot says")
			}
			t.kept = append(t.kept, buf[:n]...)
			t.kept = t.kept[max(0, len(t.kept)-tailSize):]
		}
		if err != nil {
			return
		}
	}
}

// wait ends the following, soon after the slot has ended, and returns what was kept.
func (t *tail) wait() string {
	_ = t.file.SetReadDeadline(time.Now().Add(tailGrace))
	<-t.done
	_ = t.file.Close()
	return strings.ToValidUTF8(strings.TrimSpace(string(t.kept)), "?")
}
