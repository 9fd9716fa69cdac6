// Package resolver answers the names that slots ask for. It runs in the daemon, on sockets that the helper opened inside of a
// slot's network namespace: who asks is known from the socket, and a slot needs no route to any name server.
//
//	New(Config) -> Resolver.Serve(sockets, Slot) -> Server.Close
//
// It forwards to the host's own name servers and keeps nothing. A name that the slot may not contact is answered as one that does
// not exist, so that programs fail at once. Slots have no IPv6: questions for it get an empty answer without being forwarded.
package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"
)

// Slot is whom a server answers.
type Slot interface {
	// May tells whether a name, in lower case and without a final dot, may be asked for.
	May(name string) bool
	// Asked is told of every question, once.
	Asked(name string, refused bool)
	// Answered is told of the addresses in an answer before the slot gets it; an error keeps the answer back.
	Answered(ctx context.Context, name string, addresses []netip.Addr, ttl time.Duration) error
}

// Config describes a resolver. Zero values mean the default.
type Config struct {
	// Servers are asked in turn, "192.0.2.53:53". Empty: those of File, read again when it changes.
	Servers []string
	File    string        // /etc/resolv.conf
	Timeout time.Duration // of one server; 3 s
	Log     zerolog.Logger
}

// Resolver is safe for concurrent use.
type Resolver struct {
	config Config

	mu      sync.Mutex
	servers []string
	stamp   time.Time // of File
}

// New returns a resolver.
func New(c Config) *Resolver {
	if c.File == "" {
		c.File = "/etc/resolv.conf"
	}
	if c.Timeout == 0 {
		c.Timeout = 3 * time.Second
	}
	return &Resolver{config: c}
}

// upstream returns whom to ask.
func (r *Resolver) upstream() []string {
	if len(r.config.Servers) > 0 {
		return r.config.Servers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st, err := os.Stat(r.config.File)
	if err != nil || st.ModTime().Equal(r.stamp) {
		return r.servers
	}
	c, err := dns.ClientConfigFromFile(r.config.File)
	if err != nil {
		r.config.Log.Warn().Err(err).Msg("read the host's name servers")
		return r.servers
	}
	r.servers, r.stamp = nil, st.ModTime()
	for _, s := range c.Servers {
		r.servers = append(r.servers, net.JoinHostPort(s, c.Port))
	}
	return r.servers
}

// maxQuestions is how many of one slot are worked on at once; more are not answered, and asked again by who can wait.
const maxQuestions = 64

// Server answers one slot.
type Server struct {
	resolver *Resolver
	slot     Slot
	running  [2]*dns.Server
	busy     chan struct{}
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// Serve answers on both sockets, which it closes in the end, until Close.
func (r *Resolver) Serve(udp net.PacketConn, tcp net.Listener, slot Slot) *Server {
	s := &Server{resolver: r, slot: slot, busy: make(chan struct{}, maxQuestions)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	handler := dns.HandlerFunc(s.answer)
	s.running = [2]*dns.Server{{PacketConn: udp, Handler: handler, UDPSize: dns.DefaultMsgSize}, {Listener: tcp, Handler: handler}}
	for _, one := range s.running {
		up := make(chan struct{})
		one.NotifyStartedFunc = func() { close(up) }
		s.done.Go(func() { _ = one.ActivateAndServe() }) // it ends with its socket
		<-up
	}
	return s
}

// Close ends the server and closes its sockets; questions that are being forwarded are given up.
func (s *Server) Close() {
	s.cancel()
	for _, one := range s.running {
		_ = one.Shutdown()
	}
	s.done.Wait()
}

func (s *Server) answer(w dns.ResponseWriter, q *dns.Msg) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		return
	}
	a := s.reply(q, w.LocalAddr().Network())
	if a == nil {
		return
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
		}
		a.Truncate(min(size, dns.DefaultMsgSize))
	}
	_ = w.WriteMsg(a)
}

// reply works out the answer to q; nil: none is due any more.
func (s *Server) reply(q *dns.Msg, network string) *dns.Msg {
	failed := func(code int) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
	if q.Response || q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET {
		return failed(dns.RcodeNotImplemented)
	}
	question := q.Question[0]
	name := strings.ToLower(strings.TrimSuffix(question.Name, "."))
	if question.Qtype == dns.TypeAAAA { // asked beside A by most programs: neither told nor refused
		a := new(dns.Msg).SetReply(q)
		a.RecursionAvailable = true
		return a
	}
	may := s.slot.May(name)
	s.slot.Asked(name, !may)
	if !may {
		return failed(dns.RcodeNameError)
	}
	a, err := s.forward(q, network)
	if s.ctx.Err() != nil {
		return nil
	}
	if err != nil {
		s.resolver.config.Log.Debug().Err(err).Str("name", name).Msg("a slot's question was not answered")
		return failed(dns.RcodeServerFailure)
	}
	addresses, ttl := addressesOf(a)
	if len(addresses) > 0 {
		if err := s.slot.Answered(s.ctx, name, addresses, ttl); err != nil {
			s.resolver.config.Log.Warn().Err(err).Str("name", name).Msg("an answer could not be let through")
			return failed(dns.RcodeServerFailure)
		}
	}
	return a
}

// forward asks one server after the other, and over TCP what does not fit a datagram.
func (s *Server) forward(q *dns.Msg, network string) (*dns.Msg, error) {
	ask := q.Copy()
	ask.Id = dns.Id() // not the slot's choice
	ask.RecursionDesired = true
	servers := s.resolver.upstream()
	err := errors.New("the host has no name server")
	for _, server := range servers {
		var a *dns.Msg
		client := dns.Client{Net: network, Timeout: s.resolver.config.Timeout, UDPSize: dns.DefaultMsgSize}
		a, _, err = client.ExchangeContext(s.ctx, ask, server)
		if err == nil && a.Truncated && network == "udp" {
			client.Net = "tcp"
			if full, _, ferr := client.ExchangeContext(s.ctx, ask, server); ferr == nil {
				a = full
			}
		}
		if err != nil {
			continue
		}
		if a.Rcode == dns.RcodeServerFailure || a.Rcode == dns.RcodeRefused {
			err = errors.New("the name server " + server + " says " + dns.RcodeToString[a.Rcode])
			continue
		}
		a.Id = q.Id
		return a, nil
	}
	return nil, err
}

// addressesOf are those in an answer, at the end of whatever aliases, and how long it holds.
func addressesOf(m *dns.Msg) (list []netip.Addr, ttl time.Duration) {
	for _, rr := range m.Answer {
		a, ok := rr.(*dns.A)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(a.A.To4()); ok {
			list = append(list, ip)
			if t := time.Duration(a.Hdr.Ttl) * time.Second; ttl == 0 || t < ttl {
				ttl = t
			}
		}
	}
	return list, ttl
}
