// Package jsontext says whether bytes are JSON text, as encoding/json does and several times faster: arguments and results of a megabyte pass
// such a check at every border.
package jsontext

import (
	"encoding/binary"
	"math/bits"
)

// deepest is how far values may be nested: as far as encoding/json reads.
const deepest = 10_000

// Valid reports what json.Valid reports.
func Valid(b []byte) bool {
	i := blanks(b, 0)
	open := make([]byte, 0, 64) // closing brackets of what is being read, the innermost last
	for {
		// Here a value begins.
		if i == len(b) {
			return false
		}
		if c := b[i]; c == '{' || c == '[' {
			if len(open) == deepest {
				return false
			}
			open = append(open, c+2) // ASCII has two between the brackets of either kind
			if i = blanks(b, i+1); i == len(b) {
				return false
			}
			if b[i] != c+2 {
				if c == '{' {
					if i = name(b, i); i < 0 {
						return false
					}
				}
				continue
			}
		} else if i = scalar(b, i); i < 0 {
			return false
		}
		// Here a value has ended, or an empty one is at its bracket.
		for {
			i = blanks(b, i)
			if len(open) == 0 {
				return i == len(b)
			}
			if i == len(b) {
				return false
			}
			if b[i] == ',' {
				break
			}
			if b[i] != open[len(open)-1] {
				return false
			}
			open = open[:len(open)-1]
			i++
		}
		i = blanks(b, i+1)
		if open[len(open)-1] == '}' {
			if i = name(b, i); i < 0 {
				return false
			}
		}
	}
}

func blanks(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// name reads the name of a member and its colon, to where the value begins. Like what follows it returns -1 for what is no such thing.
func name(b []byte, i int) int {
	if i == len(b) || b[i] != '"' {
		return -1
	}
	if i = Text(b, i+1); i < 0 {
		return -1
	}
	if i = blanks(b, i); i == len(b) || b[i] != ':' {
		return -1
	}
	return blanks(b, i+1)
}

func scalar(b []byte, i int) int {
	switch b[i] {
	case '"':
		return Text(b, i+1)
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	}
	return number(b, i)
}

func word(b []byte, i int, want string) int {
	if len(b)-i < len(want) || string(b[i:i+len(want)]) != want {
		return -1
	}
	return i + len(want)
}

func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = digits(b, i); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits are at least one.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// Text reads the rest of a string, whose opening quote is before i, to behind its closing quote; -1: it has none, or is not right.
func Text(b []byte, i int) int {
	for {
		if i = plain(b, i); i == len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i = escape(b, i+1); i < 0 {
				return -1
			}
		default:
			return -1 // a control character
		}
	}
}

func escape(b []byte, i int) int {
	if i == len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(b)-i < 5 {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// plain skips what stands for itself in a string: up to a quote, a backslash, a control character or the end. It looks at eight bytes at
// once: a byte's high bit is set where it is zero after the quote's, or the backslash's, bits were taken from it, and where it is below a blank.
func plain(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		// A borrow may mark the bytes above one that is marked rightly; the lowest mark is right.
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-' '*ones)&^w) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}
