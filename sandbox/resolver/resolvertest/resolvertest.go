// Package resolvertest has a name server for tests of what slots contact. Its names are those of the internet that
// sandbox/network/networktest makes.
package resolvertest

import (
	"net"
	"strconv"
	"testing"

	"github.com/miekg/dns"
)

// Known are the names that Names answers, private.example being one that leads inside.
var Known = map[string]string{"five.example.": "203.0.113.5", "six.example.": "203.0.113.6", "private.example.": "10.9.9.9"}

// Names is a name server at an address that knows these names and says of all others that they do not exist. It returns where it
// listens; port 0 takes any.
func Names(t *testing.T, host string, port int) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	server := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		address, known := Known[q.Question[0].Name]
		switch {
		case !known:
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A " + address)
			if err != nil {
				t.Error(err)
			}
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = server.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = server.Shutdown() })
	return pc.LocalAddr().String()
}
