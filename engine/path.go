package engine

import "regexp"

var pathPattern = regexp.MustCompile(`^(u|f)/[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)+$`)

// CheckPath verifies that p is "u/<user>/<name>" or "f/<folder>/<name>" (names may hold further slashes).
func CheckPath(op, p string) error {
	if len(p) > 255 || !pathPattern.MatchString(p) {
		return &Error{Code: Invalid, Op: op, Path: p, Msg: "not a valid path",
			Hint: "use u/<user>/<name> or f/<folder>/<name> with letters, digits, '_', '-' and '.'"}
	}
	return nil
}
