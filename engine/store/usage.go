package store

import (
	"encoding/json"

	"github.com/millrace/millrace/engine"
)

// encodeUsage returns nil for nil.
func encodeUsage(u *engine.Usage) []byte {
	if u == nil {
		return nil
	}
	b, err := json.Marshal(u)
	if err != nil { // it holds numbers and texts only
		return nil
	}
	return b
}

// readUsage returns nil for null, and for what no version of this program writes.
func readUsage(b []byte) *engine.Usage {
	if b == nil {
		return nil
	}
	u := &engine.Usage{}
	if json.Unmarshal(b, u) != nil {
		return nil
	}
	return u
}
