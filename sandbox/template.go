package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Key is the content hash of t: slots with the same key are interchangeable.
func (t Template) Key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %v %q %q\n", t.Name, t.Network, t.Zygote, t.ZygoteEnv, t.Build, t.Tenant, t.Calls)
	if t.Allow != nil {
		fmt.Fprintf(h, "allow %q\n", t.Allow)
	}
	if len(t.Devices) > 0 {
		fmt.Fprintf(h, "devices %q\n", t.Devices)
	}
	if t.Shared != "" {
		fmt.Fprintf(h, "shared %q\n", t.Shared)
	}
	for _, b := range t.Binds {
		fmt.Fprintf(h, "%q %q %v\n", b.Source, b.Target, b.Writable)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
