package python

import (
	"regexp"
	"strings"

	"github.com/millrace/millrace/runtimes/scan"
)

// docs is what a docstring says.
type docs struct {
	text   string            // without the sections on parameters and results
	params map[string]string // by name
}

// docOf is the docstring of the function whose def is statement at, or else the comment right above it.
func docOf(m *module, at int, body []token) docs {
	if len(body) == 0 && at+1 < len(m.statements) && m.statements[at+1].indent > 0 {
		body = m.statements[at+1].toks
	}
	var b strings.Builder
	for _, t := range body {
		s, isBytes, ok := "", false, false
		if t.Kind == scan.String {
			s, isBytes, ok = unquote(t.Text)
		}
		if !ok || isBytes {
			return commentAbove(m, at)
		}
		b.WriteString(s)
	}
	if b.Len() == 0 {
		return commentAbove(m, at)
	}
	return readDoc(dedent(b.String()))
}

// annotation marks comments that are for the platform and not for readers.
var annotation = regexp.MustCompile(`^(requirements:|extra_requirements:|/// |py:|py3\d|no_cache|sandbox|volume:|!)`)

func commentAbove(m *module, at int) docs {
	for at > 0 && m.statements[at-1].is("@") && m.statements[at-1].indent == 0 {
		at--
	}
	var lines []string
	for n := m.statements[at].line() - 1; m.alone[n]; n-- {
		if annotation.MatchString(m.comments[n]) {
			return docs{}
		}
		lines = append([]string{m.comments[n]}, lines...)
	}
	return readDoc(strings.Join(lines, "\n"))
}

// dedent takes the common indentation from all lines but the first.
func dedent(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\t", "        "), "\n")
	margin := -1
	for _, line := range lines[1:] {
		if trimmed := strings.TrimLeft(line, " "); trimmed != "" && trimmed != "\r" {
			if n := len(line) - len(trimmed); margin < 0 || n < margin {
				margin = n
			}
		}
	}
	for i, line := range lines {
		if i == 0 {
			line = strings.TrimLeft(line, " ")
		} else if margin > 0 && len(line) >= margin {
			line = line[margin:]
		}
		lines[i] = strings.TrimRight(line, " \r")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n ")
}

var (
	googleSection = regexp.MustCompile(`^(Args|Arguments|Parameters|Params|Keyword Args|Other Parameters|Returns?|Yields?|Raises|Examples?|Notes?):$`)
	googleParam   = regexp.MustCompile(`^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$`)
	sphinxParam   = regexp.MustCompile(`^:(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)$`)
	sphinxOther   = regexp.MustCompile(`^:(?:type|returns?|rtype|raises?|yields?)\b[^:]*:`)
	numpyParam    = regexp.MustCompile(`^\*{0,2}(\w+)\s*(?::.*)?$`)
	numpyRule     = regexp.MustCompile(`^-{3,}$`)
)

// readDoc understands the Google, NumPy and Sphinx ways to describe parameters.
func readDoc(s string) docs {
	d := docs{params: map[string]string{}}
	lines := strings.Split(s, "\n")
	var text []string
	section, style, current := "", "", ""
	paramIndent := -1
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		trimmed := strings.TrimSpace(line)
		indented := line != trimmed && trimmed != ""
		if m := sphinxParam.FindStringSubmatch(trimmed); m != nil {
			section, style, current = "Args", "sphinx", m[1]
			d.add(current, m[2])
			continue
		}
		if sphinxOther.MatchString(trimmed) {
			section, style, current = "other", "sphinx", ""
			continue
		}
		if m := googleSection.FindStringSubmatch(trimmed); m != nil && !indented {
			section, style, current, paramIndent = m[1], "google", "", -1
			continue
		}
		if i+1 < len(lines) && trimmed != "" && numpyRule.MatchString(strings.TrimSpace(lines[i+1])) {
			section, style, current = trimmed, "numpy", ""
			i++
			continue
		}
		if style != "numpy" && section != "" && trimmed != "" && !indented {
			section = "" // back at the margin: text again
		}
		switch {
		case section == "":
			text = append(text, line)
		case !isParams(section) || trimmed == "":
		case style == "google":
			indent := len(line) - len(strings.TrimLeft(line, " "))
			if m := googleParam.FindStringSubmatch(line); m != nil && (paramIndent < 0 || indent <= paramIndent) {
				current, paramIndent = m[1], indent
				d.add(current, m[2])
			} else {
				d.add(current, trimmed)
			}
		case style == "numpy" && !indented:
			current = ""
			if m := numpyParam.FindStringSubmatch(trimmed); m != nil {
				current = m[1]
			}
		default:
			d.add(current, trimmed)
		}
	}
	d.text = strings.TrimSpace(strings.Join(text, "\n"))
	return d
}

func isParams(section string) bool {
	switch section {
	case "Args", "Arguments", "Parameters", "Params", "Keyword Args", "Other Parameters":
		return true
	}
	return false
}

func (d docs) add(name, more string) {
	if name != "" {
		d.params[name] = strings.TrimSpace(d.params[name] + " " + more)
	}
}
