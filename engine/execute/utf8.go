package execute

import "unicode/utf8"

// cleaner turns a stream of bytes into text that can be stored: a rune that is cut by the end of a write waits for the next one,
// and what is no UTF-8, or NUL, becomes U+FFFD.
type cleaner struct {
	rest [utf8.UTFMax]byte // of a rune that is not complete
	n    int
}

// add appends the text of p to dst.
func (c *cleaner) add(dst, p []byte) []byte {
	for c.n > 0 && len(p) > 0 { // complete the waiting rune byte by byte
		c.rest[c.n] = p[0]
		c.n++
		p = p[1:]
		if utf8.FullRune(c.rest[:c.n]) {
			r, size := utf8.DecodeRune(c.rest[:c.n])
			left := append([]byte(nil), c.rest[size:c.n]...)
			c.n = 0
			dst = utf8.AppendRune(dst, r)
			p = append(left, p...)
		}
	}
	for len(p) > 0 {
		if p[0] < utf8.RuneSelf && p[0] != 0 {
			dst = append(dst, p[0])
			p = p[1:]
			continue
		}
		if !utf8.FullRune(p) {
			c.n = copy(c.rest[:], p)
			return dst
		}
		r, size := utf8.DecodeRune(p)
		if r == 0 {
			r = utf8.RuneError
		}
		dst = utf8.AppendRune(dst, r)
		p = p[size:]
	}
	return dst
}

// end appends what can no longer be completed.
func (c *cleaner) end(dst []byte) []byte {
	if c.n > 0 {
		c.n = 0
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	return dst
}
