package direct

import (
	"sort"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

// paths translates paths as seen inside a slot to paths of this host.
type paths []sandbox.Bind // longest Target first

func newPaths(t sandbox.Template, work string) paths {
	p := append(paths{{Source: work, Target: "/work"}}, t.Binds...)
	sort.SliceStable(p, func(i, j int) bool { return len(p[i].Target) > len(p[j].Target) })
	return p
}

const separators = "=:,;(\"' \t\n"

func (p paths) all(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = p.translate(s)
	}
	return out
}

func (p paths) translate(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if i == 0 || strings.IndexByte(separators, s[i-1]) >= 0 {
			if bind, ok := p.match(s[i:]); ok {
				b.WriteString(bind.Source)
				i += len(bind.Target)
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// match finds the bind whose Target is the first path of s or a parent of it.
func (p paths) match(s string) (sandbox.Bind, bool) {
	for _, b := range p {
		rest, ok := strings.CutPrefix(s, b.Target)
		if ok && (rest == "" || rest[0] == '/' || strings.IndexByte(separators+")", rest[0]) >= 0) {
			return b, true
		}
	}
	return sandbox.Bind{}, false
}
