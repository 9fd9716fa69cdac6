package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

// Resolver is where a slot with sandbox.NetworkEgress sends its questions for names.
const Resolver = "127.0.0.1"

// refreshEgress brings the resolver's configuration of slots that have one of their own up to date: names without dots are
// completed as on the host.
func (b *Base) refreshEgress() error {
	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read host names: %w", err)
	}
	text := slotResolver(host)
	path := filepath.Join(b.dir, "etc-"+string(sandbox.NetworkEgress), "resolv.conf")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return writeFile(path, text)
}

// slotResolver keeps the search list and the rule for dots of the host's configuration.
func slotResolver(host []byte) []byte {
	out := []byte("nameserver " + Resolver + "\n")
	for line := range strings.Lines(string(host)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "search", "domain":
			out = append(out, strings.Join(f, " ")+"\n"...)
		case "options":
			for _, o := range f[1:] {
				if strings.HasPrefix(o, "ndots:") {
					out = append(out, "options "+o+"\n"...)
				}
			}
		}
	}
	return out
}
