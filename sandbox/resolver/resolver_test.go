package resolver_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/millrace/millrace/sandbox/resolver"
)

// upstream is a name server that knows a few names.
func upstream(t *testing.T) (address string, questions func() int) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		n++
		mu.Unlock()
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		switch {
		case strings.EqualFold(name, "plain.example."):
			m.Answer = []dns.RR{rr(t, name+" 60 IN A 203.0.113.5"), rr(t, name+" 30 IN A 203.0.113.6")}
		case name == "alias.example.":
			m.Answer = []dns.RR{rr(t, name+" 60 IN CNAME plain.example."), rr(t, "plain.example. 60 IN A 203.0.113.5")}
		case name == "large.example." && w.LocalAddr().Network() == "udp":
			m.Truncated = true
		case name == "large.example.":
			for range 100 {
				m.Answer = append(m.Answer, rr(t, name+" 60 IN TXT \"thirty characters are in here..\""))
			}
		case name == "broken.example.":
			m.Rcode = dns.RcodeServerFailure
		default:
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: answer}, {Listener: l, Handler: answer}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return pc.LocalAddr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func rr(t *testing.T, s string) dns.RR {
	r, err := dns.NewRR(s)
	if err != nil {
		t.Error(err)
	}
	return r
}

// slot notes what it is told.
type slot struct {
	mu     sync.Mutex
	told   []string
	fail   error
	permit map[string]string
}

func (s *slot) May(name string) bool { return !strings.HasPrefix(name, "evil.") }

func (s *slot) Asked(name string, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused {
		name += " refused"
	}
	s.told = append(s.told, name)
}

func (s *slot) Answered(_ context.Context, name string, list []netip.Addr, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, a := range list {
		all = append(all, a.String())
	}
	s.permit[name] = strings.Join(all, " ") + " " + ttl.String()
	return s.fail
}

func serve(t *testing.T, servers ...string) (*slot, string, *resolver.Server) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &slot{permit: map[string]string{}}
	server := resolver.New(resolver.Config{Servers: servers}).Serve(pc, l, s)
	t.Cleanup(server.Close)
	return s, pc.LocalAddr().String(), server
}

func ask(t *testing.T, network, server, name string, kind uint16) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 10 * time.Second}
	a, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, kind), server)
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return a
}

func TestResolver(t *testing.T) {
	t.Parallel()
	up, questions := upstream(t)
	s, at, _ := serve(t, "127.0.0.1:1", up) // the first one is down
	for _, network := range []string{"udp", "tcp"} {
		if a := ask(t, network, at, "Plain.Example.", dns.TypeA); len(a.Answer) != 2 {
			t.Errorf("%s: %v", network, a)
		}
	}
	if a := ask(t, "udp", at, "alias.example.", dns.TypeA); len(a.Answer) != 2 {
		t.Errorf("alias: %v", a)
	}
	if a := ask(t, "udp", at, "none.example.", dns.TypeA); a.Rcode != dns.RcodeNameError {
		t.Errorf("missing: %v", a)
	}
	if a := ask(t, "udp", at, "broken.example.", dns.TypeA); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("broken: %v", a)
	}
	before := questions()
	if a := ask(t, "udp", at, "evil.example.", dns.TypeA); a.Rcode != dns.RcodeNameError {
		t.Errorf("refused: %v", a)
	}
	if a := ask(t, "udp", at, "plain.example.", dns.TypeAAAA); a.Rcode != dns.RcodeSuccess || len(a.Answer) != 0 {
		t.Errorf("IPv6: %v", a)
	}
	if questions() != before {
		t.Error("a question was forwarded that need not be")
	}
	if a := ask(t, "udp", at, "large.example.", dns.TypeTXT); !a.Truncated {
		t.Errorf("large over UDP is not marked as cut: %d answers", len(a.Answer))
	}
	if a := ask(t, "tcp", at, "large.example.", dns.TypeTXT); len(a.Answer) != 100 {
		t.Errorf("large over TCP: %d answers", len(a.Answer))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.told, ","); got != "plain.example,plain.example,alias.example,none.example,broken.example,evil.example refused,large.example,large.example" {
		t.Errorf("told: %s", got)
	}
	if s.permit["plain.example"] != "203.0.113.5 203.0.113.6 30s" || s.permit["alias.example"] != "203.0.113.5 1m0s" || len(s.permit) != 2 {
		t.Errorf("let through: %v", s.permit)
	}
}

func TestAnswerIsKeptBackWhenItCannotBeLetThrough(t *testing.T) {
	t.Parallel()
	up, _ := upstream(t)
	s, at, _ := serve(t, up)
	s.fail = errors.New("no helper")
	if a := ask(t, "udp", at, "plain.example.", dns.TypeA); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", a)
	}
}

func TestServersFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("# nobody\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := resolver.New(resolver.Config{File: file}).Serve(pc, l, &slot{permit: map[string]string{}})
	defer server.Close()
	if a := ask(t, "udp", pc.LocalAddr().String(), "plain.example.", dns.TypeA); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("without a server: %v", a)
	}
}
