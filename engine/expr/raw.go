package expr

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
)

// The functions of this file look into JSON without decoding it. They expect valid JSON; of invalid JSON they make nothing
// worse than a wrong value, never a panic.

// skipSpace returns the offset of the first byte at or after i that is not white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the offset after the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return len(b)
		}
		i += j + 1
		slashes := 0
		for k := i - 2; k >= 0 && b[k] == '\\'; k-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return len(b)
}

// skipValue returns the offset after the value that begins at i.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(b)
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] != ' ' && b[i] != '\n' && b[i] != '\t' && b[i] != '\r' {
		i++
	}
	return i
}

// each calls fn with the members of an object or the items of a list, without keys, until it returns false.
func each(b []byte, fn func(key, value []byte) bool) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' && b[i] != '[' {
		return
	}
	object := b[i] == '{'
	for i = skipSpace(b, i+1); i < len(b) && b[i] != '}' && b[i] != ']'; {
		var key []byte
		if object {
			end := skipString(b, i)
			key = b[i:end]
			if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
				return
			}
			i = skipSpace(b, i+1)
		}
		end := skipValue(b, i)
		if end == i || !fn(key, b[i:end]) {
			return
		}
		if i = skipSpace(b, end); i < len(b) && b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
}

// first is the first byte of a value, which tells its kind; 0 when there is none.
func first(b []byte) byte {
	if i := skipSpace(b, 0); i < len(b) {
		return b[i]
	}
	return 0
}

// sameKey tells whether a key as it stands in JSON, with quotes, is name.
func sameKey(key []byte, name string) bool {
	if len(key) < 2 {
		return false
	}
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1:len(key)-1]) == name
	}
	var s string
	return json.Unmarshal(key, &s) == nil && s == name
}

// member returns the value of a key of an object. Of several the last counts, as for JSON.parse.
func member(b []byte, name string) (value []byte, ok bool) {
	each(b, func(k, v []byte) bool {
		if sameKey(k, name) {
			value, ok = v, true
		}
		return true
	})
	return value, ok
}

// item returns an item of a list.
func item(b []byte, index int) (value []byte, ok bool) {
	each(b, func(_, v []byte) bool {
		if index == 0 {
			value, ok = v, true
		}
		index--
		return !ok
	})
	return value, ok
}

// length returns the length of a list or string.
func length(b []byte) int {
	if first(b) == '"' {
		var s string
		if json.Unmarshal(b, &s) != nil {
			return 0
		}
		return len(utf16.Encode([]rune(s)))
	}
	n := 0
	each(b, func(_, _ []byte) bool {
		n++
		return true
	})
	return n
}

// property looks a property up as JavaScript does. sure is false where this needs an engine: a property of a string or number
// other than its length.
func property(b []byte, name string) (value []byte, ok, sure bool) {
	switch first(b) {
	case '{':
		value, ok = member(b, name)
		return value, ok, true
	case '[':
		if name == "length" {
			return strconv.AppendInt(nil, int64(length(b)), 10), true, true
		}
		index, err := strconv.ParseUint(name, 10, 31)
		if err != nil || strconv.FormatUint(index, 10) != name {
			return nil, false, true // a method: no value in JSON
		}
		value, ok = item(b, int(index))
		return value, ok, true
	case '"':
		if name == "length" {
			return strconv.AppendInt(nil, int64(length(b)), 10), true, true
		}
	}
	return nil, false, false
}
