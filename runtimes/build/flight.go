package build

import (
	"context"
	"io"
	"sync"

	"github.com/millrace/millrace/runtimes"
)

// flight is a build in progress and those who wait for it.
type flight struct {
	log     fanout
	waiting int // guarded by Builder.mu
	cancel  context.CancelFunc

	done     chan struct{} // closed when the fields below are final
	artifact runtimes.Artifact
	err      error
}

// join returns the flight of r, starting it if nobody has.
func (b *Builder) join(workspace string, r *runtimes.Recipe, l *listener) *flight {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.flights[r.Key]
	if f == nil {
		ctx, cancel := context.WithCancel(context.Background())
		f = &flight{cancel: cancel, done: make(chan struct{})}
		b.flights[r.Key] = f
		go func() {
			defer cancel()
			f.artifact, f.err = b.make(ctx, workspace, r, &f.log)
			b.mu.Lock()
			if b.flights[r.Key] == f {
				delete(b.flights, r.Key)
			}
			b.mu.Unlock()
			close(f.done)
		}()
	}
	f.waiting++
	f.log.add(l)
	return f
}

// leave takes a caller out of f; the last one to leave stops it. A flight that is being stopped takes nobody aboard.
func (b *Builder) leave(key string, f *flight, l *listener) {
	f.log.remove(l)
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if b.flights[key] == f {
			delete(b.flights, key)
		}
	}
}

// listener is the log of one caller; its address tells it from others.
type listener struct{ io.Writer }

// fanout copies a log to all who listen; one who comes late gets what was said before.
type fanout struct {
	mu   sync.Mutex
	said []byte
	to   []*listener
}

const remembered = 256 << 10

func (o *fanout) add(w *listener) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.said) > 0 {
		_, _ = w.Write(o.said)
	}
	o.to = append(o.to, w)
}

func (o *fanout) remove(w *listener) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.to {
		if o.to[i] == w {
			o.to = append(o.to[:i:i], o.to[i+1:]...)
			return
		}
	}
}

// Write never fails: a listener that cannot be written to is no reason to stop a build.
func (o *fanout) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, p...)
	if len(o.said) > 2*remembered {
		o.said = append(o.said[:0], o.said[len(o.said)-remembered:]...)
	}
	for _, w := range o.to {
		_, _ = w.Write(p)
	}
	return len(p), nil
}
