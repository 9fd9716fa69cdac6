package python

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/millrace/millrace/runtimes"
)

// A script may ask for a Python: "#py: >=3.12", "# py311", or requires-python of PEP 723. There is one Python on a host: what it
// cannot satisfy is an error that says so, before anything is resolved or run.

var (
	pyLine     = regexp.MustCompile(`(?i)^py:\s*([^#]+)`)
	pyShort    = regexp.MustCompile(`^py3(\d{1,2})$`)
	comparison = regexp.MustCompile(`^(===|==|~=|!=|<=|>=|<|>)?\s*v?(\d+(?:\.\d+)*)(\.\*)?`)
)

// checkVersion compares what the head of the source asks for with the host's version.
func checkVersion(h runtimes.Host, source string) error {
	for i, line := range strings.Split(source, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !strings.HasPrefix(line, "#") {
			return nil
		}
		text, want := strings.TrimSpace(strings.TrimLeft(line, "#")), ""
		if m := pyLine.FindStringSubmatch(text); m != nil {
			want = strings.TrimSpace(m[1])
		} else if m := pyShort.FindStringSubmatch(text); m != nil {
			want = "==3." + m[1] + ".*"
		} else if rest, ok := strings.CutPrefix(text, "requires-python"); ok {
			want = strings.Trim(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "=")), `"'`)
		}
		if want != "" && !satisfies(h.Version, want) {
			return &runtimes.SourceError{Name: "PythonVersionError", Line: i + 1,
				Message: fmt.Sprintf("the script asks for Python %s, this host has %s", want, h.Version)}
		}
	}
	return nil
}

// satisfies says whether version fits a list of comparisons (PEP 440, as far as versions of Python need it).
func satisfies(version, want string) bool {
	have := parseVersion(version)
	for _, part := range strings.Split(want, ",") {
		m := comparison.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			continue
		}
		v := parseVersion(m[2])
		c := compareVersions(have, v)
		same := len(have) >= len(v) && compareVersions(have[:len(v)], v) == 0
		ok := true
		switch m[1] {
		case "", "==", "===":
			ok = same
		case "~=":
			ok = c >= 0 && len(v) > 1 && compareVersions(have[:min(len(have), len(v)-1)], v[:len(v)-1]) == 0
		case "!=":
			ok = !same
		case "<=":
			ok = c <= 0 || same
		case ">=":
			ok = c >= 0
		case "<":
			ok = c < 0
		case ">":
			ok = c > 0 && !same
		}
		if !ok {
			return false
		}
	}
	return true
}

func parseVersion(s string) []int {
	var out []int
	for _, part := range strings.Split(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}

// compareVersions compares numerically; missing parts are 0.
func compareVersions(a, b []int) int {
	for i := 0; i < len(a) || i < len(b); i++ {
		x, y := 0, 0
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return x - y
		}
	}
	return 0
}
