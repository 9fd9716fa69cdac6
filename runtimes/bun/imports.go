package bun

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes/scan"
)

// need is a package that a script asks for.
type need struct {
	name    string
	version string // "" when the import does not say
	line    int
	why     string // the line's text
}

const builtins = ` assert async_hooks buffer bun child_process cluster console constants crypto dgram diagnostics_channel dns domain events
 fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl stream string_decoder sys
 timers tls trace_events tty url util v8 vm wasi worker_threads zlib `

// specifiers are the tokens that name modules, in import, export from, import() and require().
func specifiers(s *source) []token {
	var out []token
	toks := s.toks
	typeOnly := false
	for i, t := range toks {
		switch {
		case t.Is("import") || t.Is("export"):
			typeOnly = i+2 < len(toks) && toks[i+1].Is("type") && !toks[i+2].Is(",") && !toks[i+2].Is("from")
			continue
		case t.Kind != scan.String || i == 0 || t.Text[0] == '/':
			continue
		}
		before := toks[i-1]
		called := before.Is("(") && i > 1 && (toks[i-2].Is("import") || toks[i-2].Is("require") && (i < 3 || !toks[i-3].Is("."))) &&
			i+1 < len(toks) && (toks[i+1].Is(")") || toks[i+1].Is(","))
		switch {
		case called, before.Is("import"):
			out = append(out, t)
		case before.Is("from") && !typeOnly:
			if i > 1 && (toks[i-2].Is("}") || toks[i-2].Is("*") || toks[i-2].Kind == scan.Word) {
				out = append(out, t)
			}
		}
	}
	return out
}

// split cuts a specifier such as npm:@scope/pkg@1.2/sub/path. The package is "" for what no registry has.
func split(spec string) (pkg, version, sub string) {
	spec = strings.TrimPrefix(spec, "npm:")
	if spec == "" || strings.ContainsAny(spec[:1], "./#~") || strings.Contains(spec, ":") ||
		strings.HasPrefix(spec, "f/") || strings.HasPrefix(spec, "u/") || strings.HasPrefix(spec, "@/") {
		return "", "", ""
	}
	parts := strings.SplitN(spec, "/", 3)
	n := 1
	if spec[0] == '@' {
		if n = 2; len(parts) < 2 {
			return "", "", ""
		}
	}
	pkg = strings.Join(parts[:n], "/")
	if len(parts) > n {
		sub = "/" + strings.Join(parts[n:], "/")
	}
	if at := strings.LastIndexByte(pkg, '@'); at > 0 {
		pkg, version = pkg[:at], pkg[at+1:]
	}
	return pkg, version, sub
}

// packageOf is the name of the package that a specifier is of.
func packageOf(spec string) string {
	pkg, _, _ := split(spec)
	return pkg
}

// needs lists the packages that the source asks for, each once; a version wins over none.
func needs(text string) []need {
	s := lex(text)
	lines := strings.Split(s.text, "\n")
	var out []need
	for _, t := range specifiers(s) {
		spec, ok := unquote(t.Text)
		if !ok {
			continue
		}
		pkg, version, _ := split(spec)
		if pkg == workflowPackage && version == "" && onlyWorkflows(s.toks, t) {
			continue
		}
		if pkg == "" || strings.Contains(builtins, " "+pkg+" ") || !validName(pkg) {
			continue
		}
		n := need{name: pkg, version: version, line: t.Line, why: strings.TrimSpace(lines[t.Line-1])}
		if i := slices.IndexFunc(out, func(o need) bool { return o.name == pkg }); i < 0 {
			out = append(out, n)
		} else if out[i].version == "" && version != "" {
			out[i] = n
		}
	}
	return out
}

// validName keeps what cannot be a package out of package.json.
func validName(name string) bool {
	return len(name) <= 214 && !strings.ContainsAny(name, " \t\n\"'`\\$%(){}<>|&;*!?,=")
}

// unpinned takes versions out of specifiers, which Bun does not understand. White space keeps every column where it was.
func unpinned(text string) string {
	s := lex(text)
	text = text[len(text)-len(s.text):] // without a byte order mark
	var b strings.Builder
	at := 0
	for _, t := range specifiers(s) {
		spec, ok := unquote(t.Text)
		pkg, version, sub := split(spec)
		if !ok || version == "" && !strings.HasPrefix(spec, "npm:") || pkg == "" {
			continue
		}
		plain := t.Text[:1] + pkg + sub + t.Text[:1]
		b.WriteString(text[at:t.Pos])
		b.WriteString(plain)
		b.WriteString(strings.Repeat(" ", max(0, len(t.Text)-len(plain))))
		at = t.End()
	}
	b.WriteString(text[at:])
	return b.String()
}
