package engine

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/millrace/millrace/sandbox"
)

// Contact is something outside that a run asked for: a name that it had resolved, or an address.
type Contact struct {
	Name     string `json:"name,omitempty"`    // of an address: the name whose answer it was, if there was one
	Address  string `json:"address,omitempty"` // empty: only the name was asked for
	Port     uint16 `json:"port,omitempty"`
	Protocol string `json:"protocol"` // "tcp", "udp", "icmp", a number, "dns" of a name; "more": so many more that were not kept
	Refused  bool   `json:"refused"`  // it was not let through
	Count    int    `json:"count"`    // attempts; of very many in a short time not all are counted
}

// String is for people: "api.example.org (203.0.113.5:443/tcp)".
func (c Contact) String() string {
	if c.Address == "" {
		return c.Name
	}
	s := c.Address
	if c.Port != 0 {
		s += ":" + strconv.Itoa(int(c.Port))
	}
	s += "/" + c.Protocol
	if c.Name != "" {
		s = c.Name + " (" + s + ")"
	}
	return s
}

// ContactOf is what the sandbox says, for the record.
func ContactOf(c sandbox.Contact) Contact {
	out := Contact{Name: c.Name, Port: c.Port, Protocol: c.Protocol, Refused: c.Refused, Count: c.Count}
	if c.Address.IsValid() {
		out.Address = c.Address.String()
	}
	return out
}

// Visitor is for whom a slot works: what comes through its API listener comes from this job.
type Visitor struct {
	Job   uuid.UUID
	Token string // the job's own
}
