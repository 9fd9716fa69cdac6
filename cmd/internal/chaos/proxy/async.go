package proxy

import (
	"bytes"
	"sync/atomic"
)

// Async is a rewriting that makes a promise-keeping client break its promise: wherever it asks for synchronous_commit=on, the
// server is asked for off. It exists for the control run, which must lose what was acknowledged. Being here, between the
// processes, it needs no switch in the product that somebody could turn on by accident.
type Async struct {
	Rewritten atomic.Int64 // messages
}

// Rewrite changes one frontend message.
func (a *Async) Rewrite(m []byte) []byte {
	if !bytes.Contains(m, []byte("synchronous_commit")) {
		return m
	}
	changed := bytes.ReplaceAll(m, []byte("'on'"), []byte("'off'"))
	changed = bytes.ReplaceAll(changed, []byte("synchronous_commit\x00on\x00"), []byte("synchronous_commit\x00off\x00"))
	if grown := len(changed) - len(m); grown > 0 {
		at := 1
		if m[0] == 0 { // the first message: no type, and never so long that its length begins with another byte
			at = 0
		}
		n := length(changed[at:]) + grown
		copy(changed[at:], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		a.Rewritten.Add(1)
	}
	return changed
}
