package engine

import "github.com/google/uuid"

// PushResult says what became of a pushed job.
type PushResult struct {
	ID        uuid.UUID // the job's own, or that of the earlier job with the same idempotency key
	Claimed   bool      // it was born running on this process
	Duplicate bool      // there was a job of this id or key already; nothing was added
}

// TagCount counts the jobs of one tag.
type TagCount struct {
	Tag     string
	Queued  int64
	Running int64
}
