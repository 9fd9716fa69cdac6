package engine

import "github.com/google/uuid"

// PushResult says what became of a pushed job.
type PushResult struct {
	ID        uuid.UUID // the job's own, or that of the earlier job with the same idempotency key
	Claimed   bool      // it was born running on this process
	Duplicate bool      // there was a job of this id or key already; nothing was added
	Ended     bool      // it is completed already, as a failure: its limit was reached and it does not wait
	// Replaced is the job that gave way to this one, by Debounce; it is completed as canceled.
	Replaced *uuid.UUID
}

// TagCount counts the jobs of one tag.
type TagCount struct {
	Tag     string
	Queued  int64
	Running int64
}
