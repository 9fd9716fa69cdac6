package sandbox

import "net/netip"

// MaxContacts bounds the different contacts that are kept of one run; further ones only count.
const MaxContacts = 1000

// Contact is something outside that a run has asked for: a name that it had resolved (then Name alone is set), or an address.
type Contact struct {
	Name     string // the name asked for; of an address, the name whose answer it was, if there was one
	Address  netip.Addr
	Port     uint16 // 0 where the protocol has none
	Protocol string // "tcp", "udp", "icmp" or a number; "dns" of a name
	Refused  bool   // it was not let through, or the name was not answered
	Count    int    // attempts; where there were very many, at least so many
}

// Networked is an optional power of a Slot: it knows what was contacted from it, and on whose behalf.
type Networked interface {
	// Begin says for whom the slot works from now on: what comes through its API listener comes from visitor.
	Begin(visitor any)
	// End ends that, when no process of theirs is left: connections to the API are cut, and what was contacted is returned.
	End() []Contact
}

// Permit is an address that a slot with an allow-list may contact for some time, because an allowed name resolves to it.
type Permit struct {
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"` // 0: any
}
