package gpu

import (
	"bytes"
	"encoding/binary"
	"os"
)

// The linker's cache: a header with the number of entries, the entries, and the texts they point into by offsets from the
// beginning of the header. Since glibc 2.32 there is nothing else in the file; before, an older table may come first.
const (
	cacheMagic  = "glibc-ld.so.cache1.1"
	cacheHeader = 48
	cacheEntry  = 24
	maxCache    = 64 << 20
)

// cachedLibraries lists the paths in the linker's cache; a file that is none, or of another format, lists nothing.
func cachedLibraries(path string) []string {
	st, err := os.Stat(path)
	if err != nil || st.Size() > maxCache {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseCache(data)
}

func parseCache(data []byte) []string {
	at := bytes.Index(data, []byte(cacheMagic))
	if at < 0 || len(data)-at < cacheHeader {
		return nil
	}
	data = data[at:]
	n := binary.NativeEndian.Uint32(data[len(cacheMagic):])
	if uint64(n)*cacheEntry > uint64(len(data)-cacheHeader) {
		return nil
	}
	out := make([]string, 0, n)
	for k := range int(n) {
		value := binary.NativeEndian.Uint32(data[cacheHeader+k*cacheEntry+8:])
		if uint64(value) >= uint64(len(data)) {
			continue
		}
		text, _, ok := bytes.Cut(data[value:], []byte{0})
		if ok && len(text) > 1 && text[0] == '/' {
			out = append(out, string(text))
		}
	}
	return out
}
