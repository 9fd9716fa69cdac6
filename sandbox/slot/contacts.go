package slot

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/told"
)

// contacts is what was contacted from one slot since it was last asked. The zero value is ready.
type contacts struct {
	mu    sync.Mutex
	seen  map[sandbox.Contact]int // by contact without its count
	names map[netip.Addr]string   // whose answer an address was, for the slot's life
	more  int                     // further ones, of which only the number is kept
}

// maxNames bounds the names that are remembered of a slot.
const maxNames = 4096

func (c *contacts) add(x sandbox.Contact) {
	if c.seen == nil {
		c.seen = map[sandbox.Contact]int{}
	}
	if _, known := c.seen[x]; !known && len(c.seen) >= sandbox.MaxContacts {
		c.more++
		return
	}
	c.seen[x]++
}

// asked notes a question for a name.
func (c *contacts) asked(name string, refused bool) {
	c.mu.Lock()
	c.add(sandbox.Contact{Name: name, Protocol: "dns", Refused: refused})
	c.mu.Unlock()
}

// answered notes whose addresses these are.
func (c *contacts) answered(name string, list []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil || len(c.names)+len(list) > maxNames {
		c.names = map[netip.Addr]string{}
	}
	for _, a := range list {
		c.names[a] = name
	}
}

// told notes a conversation.
func (c *contacts) told(m told.Message) {
	c.mu.Lock()
	c.add(sandbox.Contact{Name: c.names[m.Address], Address: m.Address, Port: m.Port, Protocol: m.Protocol, Refused: m.Refused})
	c.mu.Unlock()
}

// take returns what was noted, names first, and begins anew.
func (c *contacts) take() []sandbox.Contact {
	c.mu.Lock()
	seen, more := c.seen, c.more
	c.seen, c.more = nil, 0
	c.mu.Unlock()
	if len(seen) == 0 {
		return nil
	}
	out := make([]sandbox.Contact, 0, len(seen)+1)
	for x, n := range seen {
		x.Count = n
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b sandbox.Contact) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.Protocol, b.Protocol), compareBool(a.Refused, b.Refused))
	})
	if more > 0 {
		out = append(out, sandbox.Contact{Protocol: "more", Count: more})
	}
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
