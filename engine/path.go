package engine

import "strings"

// CheckPath verifies that p is "u/<user>/<name>" or "f/<folder>/<name>" (names may hold further slashes).
func CheckPath(op, p string) error {
	if len(p) > 255 || !isPath(p) {
		return &Error{Code: Invalid, Op: op, Path: p, Msg: "not a valid path",
			Hint: "use u/<user>/<name> or f/<folder>/<name> with letters, digits, '_', '-' and '.'"}
	}
	return nil
}

// isPath says whether p is u or f and at least two names, without a regular expression: every request asks.
func isPath(p string) bool {
	rest, ok := strings.CutPrefix(p, "u/")
	if !ok {
		if rest, ok = strings.CutPrefix(p, "f/"); !ok {
			return false
		}
	}
	names, inName := 0, false
	for i := range len(rest) {
		switch c := rest[i]; {
		case c == '/' && inName:
			inName = false
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-':
			if !inName {
				names, inName = names+1, true
			}
		default:
			return false
		}
	}
	return inName && names > 1
}
