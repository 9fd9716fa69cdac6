package jail

import (
	"context"
	"fmt"
	"testing"
)

// TestFolders: names are taken once, checked, bounded, and given back at the end of the connection.
func TestFolders(t *testing.T) {
	t.Parallel()
	h := &fakeHost{}
	c, ended := dial(t, h)
	ctx := context.Background()
	if err := c.Share(ctx, "a", 100); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name string
		size int64
	}{{"a", 100}, {"", 100}, {"../b", 100}, {"b/c", 100}, {"b", 0}, {"b", -1}, {"b", maxBytes + 1}, {"B", 1}} {
		if err := c.Share(ctx, x.name, x.size); err == nil {
			t.Errorf("accepted %+v", x)
		}
	}
	if err := c.Unshare(ctx, "nobody"); err == nil {
		t.Error("a folder that is not there was taken away")
	}
	if err := c.Unshare(ctx, "a"); err != nil {
		t.Error(err)
	}
	for n := range maxFolders {
		if err := c.Share(ctx, fmt.Sprintf("f%d", n), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Share(ctx, "more", 1); err == nil {
		t.Error("there is no end of folders")
	}
	_ = c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(h.folders) != 0 {
		t.Errorf("%d folders are left", len(h.folders))
	}
}
