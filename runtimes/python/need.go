package python

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes/scan"
)

// need is a package that a script asks for.
type need struct {
	spec string // as pip writes it: "requests", "pandas>=2"
	line int
	why  string // the line's text
}

var (
	//go:embed stdlib.txt
	stdlibText string
	//go:embed pypi.txt
	pypiText string

	stdlib = wordSet(stdlibText)
	pypi   = wordMap(pypiText) // module -> package, where the names differ
)

func wordSet(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

func wordMap(s string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(s) {
		if f := strings.Fields(line); len(f) == 2 {
			out[f[0]] = f[1]
		}
	}
	return out
}

// needs lists what the source asks for, in order of lines. A "# requirements:" block or PEP 723 metadata says it all;
// otherwise imports do, with "# extra_requirements:" on top. The error is a *runtimes.SourceError.
func needs(source string) ([]need, error) {
	lines := strings.Split(source, "\n")
	if out, ok := scriptMetadata(lines); ok {
		return out, nil
	}
	if out, ok := block(lines, "requirements:"); ok {
		return out, nil
	}
	out, err := imports(source, lines)
	if err != nil {
		return nil, err
	}
	extra, _ := block(lines, "extra_requirements:")
	return append(out, extra...), nil
}

// block reads the comment lines that follow a title.
func block(lines []string, title string) ([]need, bool) {
	var out []need
	for i, line := range lines {
		if strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#")) != title || !strings.HasPrefix(line, "#") {
			continue
		}
		for j := i + 1; j < len(lines); j++ {
			text, ok := strings.CutPrefix(strings.TrimSpace(lines[j]), "#")
			text = strings.TrimSpace(text)
			if !ok || text == "" || strings.HasSuffix(text, "requirements:") {
				break
			}
			text, _, _ = strings.Cut(text, " #")
			out = append(out, need{spec: strings.TrimSpace(text), line: j + 1, why: strings.TrimSpace(lines[j])})
		}
		return out, true
	}
	return nil, false
}

var tomlString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`)

// scriptMetadata reads the dependencies of a PEP 723 block.
func scriptMetadata(lines []string) ([]need, bool) {
	start := slices.IndexFunc(lines, func(l string) bool { return strings.TrimRight(l, " \r") == "# /// script" })
	if start < 0 {
		return nil, false
	}
	var out []need
	inList, found := false, false
	for i := start + 1; i < len(lines); i++ {
		text, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "#")
		if text = strings.TrimSpace(text); !ok || text == "///" {
			break
		}
		if key, rest, ok := strings.Cut(text, "="); ok && !inList && strings.TrimSpace(key) == "dependencies" {
			inList, found = true, true
			text = rest
		}
		if !inList {
			continue
		}
		for _, s := range tomlString.FindAllString(text, -1) {
			spec := strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
			out = append(out, need{spec: spec, line: i + 1, why: text})
		}
		bare := tomlString.ReplaceAllString(text, "")
		inList = !strings.Contains(bare, "]")
	}
	return out, found
}

var pin = regexp.MustCompile(`(?:^|\s)(repin|pin):\s*(\S.*)$`)

// imports turns import statements, wherever they stand, into packages. "# pin: name==1" on the line names the package itself.
func imports(source string, lines []string) ([]need, error) {
	m, err := lex(source)
	if err != nil {
		return nil, err
	}
	var out []need
	seen := map[string]int{} // package -> index in out
	for _, s := range m.statements {
		toks := s.toks
		if i := scan.Index(toks, ":"); i >= 0 && i+1 < len(toks) && !s.is("import") && !s.is("from") {
			toks = toks[i+1:] // try: import x
		}
		modules := modulesOf(toks)
		if len(modules) == 0 {
			continue
		}
		line := s.line()
		why := strings.TrimSpace(lines[line-1])
		last := s.toks[len(s.toks)-1].Line
		if p := pin.FindStringSubmatch(m.comments[last]); p != nil {
			n := need{spec: strings.TrimSpace(p[2]), line: last, why: why}
			if i, dup := seen[bareName(n.spec)]; dup {
				out[i] = n
			} else {
				seen[bareName(n.spec)] = len(out)
				out = append(out, n)
			}
			continue
		}
		for _, module := range modules {
			spec := packageOf(module)
			if name, ok := strings.CutPrefix(module, workflowPackage+"."); ok && workflowNames[name] {
				continue
			}
			if _, dup := seen[bareName(spec)]; spec == "" || dup {
				continue
			}
			seen[bareName(spec)] = len(out)
			out = append(out, need{spec: spec, line: line, why: why})
		}
	}
	return out, nil
}

// bareName is the normalised name of a requirement, without version and extras.
func bareName(spec string) string {
	if i := strings.IndexAny(spec, " <>=!~[;@("); i >= 0 {
		spec = spec[:i]
	}
	return strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(spec, "_", "-"), ".", "-"))
}

// modulesOf lists the modules of an import statement; from a import b gives a.b, as b may be a module.
func modulesOf(toks []token) []string {
	if len(toks) < 2 {
		return nil
	}
	var out []string
	switch {
	case toks[0].Is("import"):
		for _, part := range scan.Split(toks[1:], ",") {
			out = append(out, dotted(part))
		}
	case toks[0].Is("from") && !toks[1].Is(".") && !toks[1].Is("..."):
		module := dotted(toks[1:])
		at := slices.IndexFunc(toks, func(t token) bool { return t.Is("import") })
		if at < 0 {
			return nil
		}
		for _, part := range scan.Split(strip(toks[at+1:]), ",") {
			switch {
			case len(part) == 0: // after the last comma
			case part[0].Kind == scan.Word:
				out = append(out, module+"."+part[0].Text)
			default:
				out = append(out, module)
			}
		}
	}
	return slices.DeleteFunc(out, func(m string) bool { return m == "" || m[0] == '.' })
}

// dotted reads a.b.c up to the first thing that is neither.
func dotted(toks []token) string {
	var b strings.Builder
	for i, t := range toks {
		if i%2 == 0 && t.Kind != scan.Word || i%2 == 1 && !t.Is(".") {
			break
		}
		b.WriteString(t.Text)
	}
	return b.String()
}

// packageOf names the package that provides a module; "" for the standard library and for other scripts of the workspace.
func packageOf(module string) string {
	parts := strings.Split(module, ".")
	if top := parts[0]; stdlib[top] || top == "u" || top == "f" || top == "__main__" {
		return ""
	}
	for n := min(len(parts), 4); n > 0; n-- {
		if p, ok := pypi[strings.Join(parts[:n], ".")]; ok {
			return p
		}
	}
	if len(parts) > 2 && parts[0] == "google" && parts[1] == "cloud" {
		return "google-cloud-" + strings.ReplaceAll(parts[2], "_", "-")
	}
	if module == "google.cloud" {
		return "google-cloud-core"
	}
	if len(parts) > 2 && parts[0] == "azure" {
		return "azure-" + strings.ReplaceAll(parts[1]+"-"+parts[2], "_", "-")
	}
	return parts[0]
}
