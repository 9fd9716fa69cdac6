package jail

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

func (h *fakeHost) API() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:8000") }

func (h *fakeHost) Watch() *os.File { return nil }

func (p *fakePlace) Inside() (map[string]*os.File, int) { return nil, 0 }

func (p *fakePlace) Permit([]sandbox.Permit, time.Duration) error { return nil }

func TestCheckNetwork(t *testing.T) {
	good := []sandbox.Permit{{Address: netip.MustParseAddr("203.0.113.5"), Port: 443}}
	for _, c := range []struct {
		r   request
		bad string
	}{
		{request{Op: opPermit, Slot: "1", Permits: &permits{List: good, TTL: time.Minute}}, ""},
		{request{Op: opPermit, Slot: "1"}, "list"},
		{request{Op: opPermit, Slot: "x", Permits: &permits{List: good}}, "slot"},
		{request{Op: opPermit, Slot: "1", Permits: &permits{List: good, TTL: -1}}, "list"},
		{request{Op: opPermit, Slot: "1", Permits: &permits{List: good, TTL: 25 * time.Hour}}, "list"},
		{request{Op: opPermit, Slot: "1", Permits: &permits{List: make([]sandbox.Permit, 65)}}, "list"},
		{request{Op: opPermit, Slot: "1", Permits: &permits{List: []sandbox.Permit{{}}}}, "IPv4"},
		{request{Op: opPermit, Slot: "1", Permits: &permits{List: []sandbox.Permit{{Address: netip.MustParseAddr("::1")}}}}, "IPv4"},
	} {
		err := c.r.check()
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%+v: %v, want %q", c.r, err, c.bad)
		}
	}
	for _, c := range []struct {
		network sandbox.Network
		allow   []string
		bad     bool
	}{
		{sandbox.NetworkEgress, nil, false},
		{sandbox.NetworkEgress, []string{}, false},
		{sandbox.NetworkEgress, []string{"example.org:443"}, false},
		{sandbox.NetworkEgress, []string{"a b"}, true},
		{sandbox.NetworkHost, []string{"example.org"}, true},
		{sandbox.NetworkNone, []string{}, true},
		{"else", nil, true},
	} {
		if err := checkNetwork(sandbox.Template{Network: c.network, Allow: c.allow}); (err != nil) != c.bad {
			t.Errorf("%s %q: %v", c.network, c.allow, err)
		}
	}
}

func (h *strictHost) API() netip.AddrPort { return netip.AddrPort{} }

func (h *strictHost) Watch() *os.File { return nil }

func (p *strictPlace) Inside() (map[string]*os.File, int) { return nil, 0 }

func (p *strictPlace) Permit([]sandbox.Permit, time.Duration) error { return nil }
