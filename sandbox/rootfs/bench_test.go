package rootfs

import "testing"

func BenchmarkNewBase(b *testing.B) {
	for b.Loop() {
		if _, err := NewBase(b.TempDir(), "/bin/true", "/bin/true"); err != nil {
			b.Fatal(err)
		}
	}
}
