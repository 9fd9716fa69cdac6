package gpu

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func cacheOf(paths ...string) []byte {
	texts := cacheHeader + cacheEntry*len(paths)
	b := make([]byte, texts)
	copy(b, cacheMagic)
	binary.NativeEndian.PutUint32(b[len(cacheMagic):], uint32(len(paths)))
	for k, p := range paths {
		binary.NativeEndian.PutUint32(b[cacheHeader+k*cacheEntry+8:], uint32(len(b)))
		b = append(append(b, p...), 0)
	}
	return b
}

func TestLinkerCache(t *testing.T) {
	t.Parallel()
	made := cacheOf("/opt/a/libcuda.so.1", "/opt/b/libm.so.6")
	if got := parseCache(made); !slices.Equal(got, []string{"/opt/a/libcuda.so.1", "/opt/b/libm.so.6"}) {
		t.Errorf("%q", got)
	}
	if got := parseCache(append([]byte("ld.so-1.7.0\x00an older table"), made...)); len(got) != 2 {
		t.Errorf("behind an older table: %q", got)
	}
	path := "/etc/ld.so.cache"
	if _, err := os.Stat(path); err != nil {
		t.Skip("this host has no cache to compare with")
	}
	libc := slices.ContainsFunc(cachedLibraries(path), func(p string) bool { return strings.HasPrefix(filepath.Base(p), "libc.so.") })
	if !libc {
		t.Error("the host's own cache does not name its C library")
	}
}

func FuzzLinkerCache(f *testing.F) {
	f.Add(cacheOf("/opt/a/libcuda.so.1"))
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range parseCache(data) {
			if !strings.HasPrefix(p, "/") || strings.ContainsRune(p, 0) {
				t.Errorf("path %q", p)
			}
		}
	})
}

func FuzzSpecification(f *testing.F) {
	f.Add([]byte("kind: nvidia.com/gpu\ncontainerEdits: {mounts: [{hostPath: /a/libcuda.so.1}]}"))
	f.Add([]byte(`{"kind":"nvidia.com/gpu"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range parseSpec(data) {
			if !filepath.IsAbs(p) || filepath.Clean(p) != p {
				t.Errorf("path %q", p)
			}
		}
	})
}
