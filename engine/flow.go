package engine

import (
	"encoding/json"
	"time"
)

// Flow is one immutable version of a deployed flow.
type Flow struct {
	Workspace string
	Version   int64 // of the instance: a later version has a greater number
	Path      string
	Summary   string
	Doc       string          // description
	Value     json.RawMessage // what it does, in Windmill's open format; verbatim as sent
	Schema    json.RawMessage // of its arguments; verbatim as sent, nil: none
	// Locks are what the scripts written in it depend on, by the id of their module; nil: not resolved yet. A script that brought
	// its own has none here.
	Locks     map[string]string
	LockError string // why resolving failed
	Tag       string
	Timeout   time.Duration
	Archived  bool
	CreatedBy string
	CreatedAt time.Time
	Message   string // deployment message
	// Extra keeps the further fields of Windmill's flow record verbatim, as sent, so that clients read back what they wrote.
	Extra map[string]json.RawMessage
}

// Hash is the version as jobs name it.
func (f *Flow) Hash() Hash { return Hash(f.Version) }

// FlowOptions say how to deploy a flow.
type FlowOptions struct {
	// Replace is the path of the flow that gets this version; "" makes a new flow. When it is another one than the version's,
	// the flow moves there with all its versions.
	Replace    string
	SkipIfNoop bool // make no version when nothing changes
}

// FlowFilter selects flows for a list. Zero fields do not filter.
type FlowFilter struct {
	PathExact    string
	PathStart    string
	CreatedBy    string
	ShowArchived bool // archived ones instead of those in use
	Page         int  // from 1
	PerPage      int  // 1..1000; zero: 30
}
