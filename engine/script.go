package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Hash identifies a script version: 64 bits, shown as 16 hex digits.
type Hash int64

func (h Hash) String() string { return fmt.Sprintf("%016x", uint64(h)) }

// ParseHash reads the 16 hex digits of a Hash.
func ParseHash(s string) (Hash, error) {
	u, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, &Error{Code: Invalid, Op: "hash.parse", Path: s, Msg: "a script hash is 16 hexadecimal digits"}
	}
	return Hash(u), nil
}

// Script is one immutable version of a script.
type Script struct {
	Workspace string
	Hash      Hash
	Path      string
	Parents   []Hash // newest first
	Summary   string
	Doc       string // description
	Content   string
	Language  string
	Kind      string          // "script", ...
	Schema    json.RawMessage // verbatim as sent, or from the signature
	Lock      *string         // nil: not resolved yet
	LockError string          // why resolving failed
	Tag       string
	Timeout   time.Duration
	Network   string // "", "none", "host"
	Archived  bool
	Deleted   bool
	CreatedBy string
	CreatedAt time.Time
	Message   string // deployment message
	// Extra keeps the further fields of Windmill's script record verbatim, as sent, so that clients read back what they wrote.
	Extra map[string]json.RawMessage
	// Options are those of Extra that change how it runs.
	Options Options
}
