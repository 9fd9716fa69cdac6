package sandbox

import "context"

// SharedTarget is where a process sees the folder that its template shares: in its work folder, so that ./shared is it.
const SharedTarget = "/work/shared"

// Sharer is an isolator that can let the processes of several slots have one folder, at SharedTarget. Only slots whose Template.Shared
// names it see it; whatever user a process is, files that another one made are its own. What is in it is in memory, and counts as the
// memory of the slots that wrote it.
type Sharer interface {
	// Share makes an empty folder that holds at most size bytes.
	Share(ctx context.Context, name string, size int64) error
	// Unshare takes it away. Slots that have it should be closed before; what they still see is gone with the last of them.
	Unshare(ctx context.Context, name string) error
}
