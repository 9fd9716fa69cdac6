package direct

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/sandbox"
)

var _ sandbox.Sharer = (*Isolator)(nil)

// Share implements sandbox.Sharer, but for the size: nothing is bounded here.
func (i *Isolator) Share(_ context.Context, name string, _ int64) error {
	if err := os.Mkdir(sharedPath(i.dir, name), 0o700); err != nil {
		return fmt.Errorf("share folder: %w", err)
	}
	return nil
}

// Unshare implements sandbox.Sharer.
func (i *Isolator) Unshare(_ context.Context, name string) error {
	if err := os.RemoveAll(sharedPath(i.dir, name)); err != nil {
		return fmt.Errorf("take shared folder away: %w", err)
	}
	return nil
}

func sharedPath(dir, name string) string {
	return filepath.Join(cmp.Or(dir, os.TempDir()), "millrace-shared-"+filepath.Base(name))
}
