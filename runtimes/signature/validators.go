package signature

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
)

// Validators remembers compiled schemas by content. The zero value is ready, and safe for concurrent use.
type Validators struct {
	mu    sync.RWMutex
	known map[[32]byte]*Validator // guarded by mu; nil entries validate everything
}

// Check verifies arguments against a stored schema; nil or {}: anything goes.
func (v *Validators) Check(schema, args json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	c := v.get(schema)
	if c == nil {
		return nil
	}
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	return c.Check(args)
}

func (v *Validators) get(schema json.RawMessage) *Validator {
	key := sha256.Sum256(schema)
	v.mu.RLock()
	c, ok := v.known[key]
	v.mu.RUnlock()
	if ok {
		return c
	}
	c, err := Compile(schema)
	if err != nil {
		c = nil // a schema that cannot be read, written by hand, must not keep its script from running
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) > 4096 {
		v.known = map[[32]byte]*Validator{}
	}
	v.known[key] = c
	return c
}
