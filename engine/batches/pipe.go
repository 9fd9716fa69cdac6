package batches

import "sync"

// pipe holds rows between the one that reads them and the one that pushes them: bounded in number and in bytes, and what has
// come by the time the pusher is free goes together.
type pipe struct {
	mu    sync.Mutex
	rows  []row // guarded by mu
	bytes int   // of rows; guarded by mu
	over  bool  // no more rows will come; guarded by mu
	dead  bool  // nobody takes any more; guarded by mu

	more chan struct{} // something was put, or it is over
	room chan struct{} // something was taken, or nobody takes any more
}

const (
	pipeRows  = 2000
	pipeBytes = 8 << 20
)

func newPipe() *pipe {
	return &pipe{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a row, waiting for room; false: nobody takes any more.
func (p *pipe) put(r row) bool {
	for {
		p.mu.Lock()
		dead, fits := p.dead, len(p.rows) < pipeRows && p.bytes < pipeBytes
		if !dead && fits {
			p.rows = append(p.rows, r)
			p.bytes += len(r.args)
		}
		p.mu.Unlock()
		switch {
		case dead:
			return false
		case fits:
			signal(p.more)
			return true
		}
		<-p.room
	}
}

// take returns all rows that there are, and whether these are the last.
func (p *pipe) take(into []row) (rows []row, over bool) {
	p.mu.Lock()
	rows, p.rows = p.rows, into[:0]
	p.bytes, over = 0, p.over
	p.mu.Unlock()
	signal(p.room)
	return rows, over
}

// end says that no more rows will come.
func (p *pipe) end() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	signal(p.more)
}

// kill says that nobody takes any more.
func (p *pipe) kill() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	signal(p.room)
}

// signal puts a signal into c unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
