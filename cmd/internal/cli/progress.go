package cli

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/web/client"
)

// progress shows how far something is: on a terminal one line that is written over, elsewhere a line every few seconds. It is
// drawn by hand: a line of text needs no library that owns the terminal.
type progress struct {
	w     io.Writer
	tty   bool
	every time.Duration // between two lines
	now   func() time.Time

	mu    sync.Mutex
	last  time.Time // of the last line; guarded by mu
	drawn bool      // a line stands there that is to be written over; guarded by mu
}

const (
	redraw  = 100 * time.Millisecond
	newLine = 5 * time.Second
)

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, tty: IsTerminal(w), every: newLine, now: time.Now}
	if p.tty {
		p.every = redraw
	}
	return p
}

// show draws a line, unless the last one is too young. The text is made only when it is drawn.
func (p *progress) show(text func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.last.IsZero() && !p.tty {
		p.last = now // what is over soon needs no line
		return
	}
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	if p.tty {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text())
		p.drawn = true
		return
	}
	fmt.Fprintln(p.w, text())
}

// clear removes the line that stands there.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

const barWidth = 30

// bar draws a share of something.
func bar(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	share := min(max(float64(part)/float64(whole), 0), 1)
	full := int(share * barWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  ", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), 100*share)
}

// thousands writes a number for people.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// batchLine is how far a batch is.
func batchLine(b *client.Batch, withBar bool) string {
	var out strings.Builder
	total := b.Inserted
	if b.Total != nil {
		total = *b.Total
	}
	if withBar && b.Total != nil {
		out.WriteString(bar(b.Done, total))
	}
	fmt.Fprintf(&out, "%s of %s done", thousands(b.Done), thousands(total))
	if b.Failed > 0 {
		fmt.Fprintf(&out, ", %s failed", thousands(b.Failed))
	}
	if b.Canceled > 0 {
		fmt.Fprintf(&out, ", %s canceled", thousands(b.Canceled))
	}
	if b.Running > 0 && !b.Over {
		fmt.Fprintf(&out, ", %s running", thousands(b.Running))
	}
	if b.Rate > 0 {
		fmt.Fprintf(&out, ", %s/s", rate(b.Rate))
	}
	if b.ETA != nil {
		fmt.Fprintf(&out, ", %s left", lasting(*b.ETA))
	}
	return out.String()
}

func rate(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.1f", r)
	}
	return thousands(int64(r))
}

// lasting writes seconds for people.
func lasting(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// counter counts what is read through it.
type counter struct {
	r     io.Reader
	mu    sync.Mutex
	lines int64 // guarded by mu
	bytes int64 // guarded by mu
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.mu.Lock()
	c.bytes += int64(n)
	c.lines += int64(bytes.Count(p[:n], []byte{'\n'}))
	c.mu.Unlock()
	return n, err
}

func (c *counter) sent() (lines, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines, c.bytes
}
