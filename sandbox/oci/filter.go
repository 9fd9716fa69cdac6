package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/sandbox/seccomp"
)

// maxFilters bounds how many different filters a daemon can have compiled. A language has one, some two.
const maxFilters = 64

// filters are the compiled system call filters of an instance, as files that slots are shown. Each is made once.
type filters struct {
	dir string

	mu   sync.Mutex
	made map[string]string // path by what the template asks for
}

// path returns the file with the filter of templates that ask for calls.
func (f *filters) path(calls []string) (string, error) {
	calls = slices.Clone(calls)
	slices.Sort(calls)
	key := strings.Join(slices.Compact(calls), " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	if path, ok := f.made[key]; ok {
		return path, nil
	}
	if len(f.made) >= maxFilters {
		return "", fmt.Errorf("filter system calls: more than %d different lists", maxFilters)
	}
	program, err := seccomp.Program(calls)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(program)
	path := filepath.Join(f.dir, "slot-"+hex.EncodeToString(sum[:8])+".bpf")
	if err := os.WriteFile(path, program, 0o644); err != nil {
		return "", fmt.Errorf("write filter: %w", err)
	}
	f.made[key] = path
	return path, nil
}
