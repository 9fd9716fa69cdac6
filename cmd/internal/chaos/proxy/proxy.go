// Package proxy stands between the product and PostgreSQL and breaks connections where it hurts: in the middle of a request,
// or after the request was passed on and before its answer came back. Clients reach it over TCP, so that what they see is a
// real connection reset.
package proxy

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Cut is a way to break connections.
type Cut int

// The ways. All but Everything take the next connection that gets into the situation.
const (
	Everything Cut = iota // all connections at once
	Request               // half of a request is passed on
	Answer                // the request is passed on whole, and of its answer nothing comes back
	HalfAnswer            // half of the answer comes back
	Ways                  // how many ways there are
)

// Proxy passes on what comes from TCP to a Unix socket.
type Proxy struct {
	target   string
	rewrite  func(message []byte) []byte // of what clients send; nil: pass on as it is
	listener net.Listener
	all      sync.WaitGroup
	cuts     atomic.Int64

	mu    sync.Mutex
	links map[*link]bool // guarded by mu
	armed Cut            // guarded by mu; Everything: none
}

// link is one client's connection and the one that it got behind.
type link struct {
	p      *Proxy
	client *net.TCPConn
	server net.Conn
	asked  atomic.Bool // a request was passed on since the cut was armed
}

// New listens. rewrite, when given, gets every message that a client sends, whole, and returns what the server gets instead.
func New(target string, rewrite func([]byte) []byte) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{target: target, rewrite: rewrite, listener: l, links: map[*link]bool{}}
	p.all.Go(p.accept)
	return p, nil
}

// URL is the database's address by way of the proxy.
func (p *Proxy) URL() string {
	a := p.listener.Addr().(*net.TCPAddr)
	return fmt.Sprintf("host=127.0.0.1 port=%d user=millrace dbname=postgres sslmode=disable", a.Port)
}

// Close cuts everything and ends.
func (p *Proxy) Close() {
	p.listener.Close()
	p.Break(Everything)
	p.all.Wait()
}

// Cuts counts the connections that were cut by Break so far.
func (p *Proxy) Cuts() int64 { return p.cuts.Load() }

// Break cuts all connections, or arms the proxy to cut the next one that gets into the situation.
func (p *Proxy) Break(how Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = how
	for l := range p.links {
		l.asked.Store(false)
		if how == Everything {
			p.cuts.Add(1)
			l.reset()
		}
	}
}

// Armed says whether a cut still waits for its situation.
func (p *Proxy) Armed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.armed != Everything
}

// hit takes the armed cut if it is one of ways.
func (p *Proxy) hit(ways ...Cut) (Cut, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range ways {
		if p.armed == w {
			p.armed = Everything
			p.cuts.Add(1)
			return w, true
		}
	}
	return 0, false
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.target)
		if err != nil { // the server is down: so is this connection
			c.Close()
			continue
		}
		l := &link{p: p, client: c.(*net.TCPConn), server: server}
		p.mu.Lock()
		p.links[l] = true
		p.mu.Unlock()
		p.all.Go(l.up)
		p.all.Go(l.down)
	}
}

// reset ends the link as a broken network does: the client gets a reset, the server sees its client vanish.
func (l *link) reset() {
	_ = l.client.SetLinger(0) // fails only when it is closed already
	l.client.Close()
	l.server.Close()
}

func (l *link) over() {
	l.p.mu.Lock()
	delete(l.p.links, l)
	l.p.mu.Unlock()
	l.client.Close()
	l.server.Close()
}

// up passes on what the client sends.
func (l *link) up() {
	defer l.over()
	if l.p.rewrite != nil {
		_ = messages(l.client, l.server, l.p.rewrite) // however it ends, it has ended
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if n > 0 {
			if _, hit := l.p.hit(Request); hit {
				_, _ = l.server.Write(buf[:n/2])
				l.reset()
				return
			}
			l.asked.Store(true)
			if _, err := l.server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// down passes on what the server answers.
func (l *link) down() {
	defer l.over()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if n > 0 {
			if l.asked.Load() {
				if how, hit := l.p.hit(Answer, HalfAnswer); hit {
					if how == HalfAnswer {
						_, _ = l.client.Write(buf[:n/2])
					}
					l.reset()
					return
				}
			}
			if _, err := l.client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// messages passes on whole messages of the frontend protocol by way of rewrite: the first has no type, only a length.
func messages(from io.Reader, to io.Writer, rewrite func([]byte) []byte) error {
	for head := 4; ; head = 5 {
		m := make([]byte, head, 512)
		if _, err := io.ReadFull(from, m); err != nil {
			return err
		}
		size := length(m[head-4:])
		if size < 4 || size > 1<<30 {
			return fmt.Errorf("a message of %d bytes", size)
		}
		m = append(m, make([]byte, size-4)...)
		if _, err := io.ReadFull(from, m[head:]); err != nil {
			return err
		}
		if _, err := to.Write(rewrite(m)); err != nil {
			return err
		}
	}
}

func length(b []byte) int { return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }
