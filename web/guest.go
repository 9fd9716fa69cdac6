package web

import (
	"net"

	"github.com/millrace/millrace/engine"
)

// ServeGuest serves a connection that a process in a slot has made, until it ends. What comes over it without credentials comes from
// the job that the connection's own Visitor method tells; a connection that tells none has no identity.
func (s *Server) ServeGuest(nc net.Conn) {
	c := &conn{Conn: nc, all: s.conns}
	if v, ok := nc.(interface{ Visitor() any }); ok {
		c.visitor, c.visits = v.Visitor().(engine.Visitor)
	}
	select {
	case <-s.stopping:
		_ = c.Close()
		return
	default:
	}
	s.conns.add(c)
	_ = s.http.ServeConn(c) // how a connection ends is the client's business
}

// Visitor implements session.Guest.
func (c *conn) Visitor() (engine.Visitor, bool) { return c.visitor, c.visits }
