package bash

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/runtimes"
)

// positional is a parameter with its place in argv, from 1.
type positional struct {
	runtimes.Param
	position int
}

var (
	// name="$1", name=$1, name="${1}", name="${1:-default}", name="${1:?message}", with or without a declaring builtin.
	assignment = regexp.MustCompile(`^\s*(?:(?:local|readonly|export|declare|typeset)(?:\s+-[a-zA-Z]+)*\s+)?([A-Za-z_][A-Za-z0-9_]*)=("?)\$(?:([1-9])|\{([1-9][0-9]?)(:?[-?=])?)`)
	function   = regexp.MustCompile(`^\s*(?:function\s+[\w:.-]+\s*(?:\(\s*\))?|[\w:.-]+\s*\(\s*\))\s*(\{.*)?$`)
	heredoc    = regexp.MustCompile(`<<-?\s*(?:'([^']+)'|"([^"]+)"|\\?([A-Za-z_]\w*))`)
)

// positionals returns the parameters of a script in the order of their positions. What functions and here-documents say does
// not count; of two names for one position, or two positions of one name, the first wins.
func positionals(source string) []positional {
	var out []positional
	depth, end := 0, "" // of function bodies; of the current here-document
	for line := range strings.Lines(source) {
		line = strings.TrimRight(line, "\r\n")
		if end != "" {
			if strings.TrimLeft(line, "\t") == end {
				end = ""
			}
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if m := heredoc.FindStringSubmatch(line); m != nil && !strings.Contains(line, "<<<") {
			end = m[1] + m[2] + m[3]
		}
		if depth > 0 || function.MatchString(line) {
			depth = max(0, depth+braces(line))
			continue
		}
		p, ok := parameter(line)
		if ok && !slices.ContainsFunc(out, func(q positional) bool { return q.position == p.position || q.Name == p.Name }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b positional) int { return a.position - b.position })
	return out
}

// braces counts the words "{" and "}", which group commands; ${...} and brace expansions are no such words.
func braces(line string) int {
	n := 0
	for _, w := range strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ';' || r == '(' || r == ')' }) {
		switch {
		case w == "{":
			n++
		case w == "}":
			n--
		case strings.HasPrefix(w, "#"):
			return n
		}
	}
	return n
}

// parameter reads a line that assigns a positional parameter to a name.
func parameter(line string) (positional, bool) {
	m := assignment.FindStringSubmatchIndex(line)
	if m == nil {
		return positional{}, false
	}
	group := func(i int) string {
		if m[2*i] < 0 {
			return ""
		}
		return line[m[2*i]:m[2*i+1]]
	}
	name, quote, plain, braced, op := group(1), group(2), group(3), group(4), group(5)
	rest := line[m[1]:]
	p := positional{Param: runtimes.Param{Name: name, Schema: runtimes.Schema{Type: "string"}, Required: true}}
	p.position, _ = strconv.Atoi(plain + braced) // digits
	if braced != "" {
		word, after, ok := expansion(rest)
		if !ok || op == "" && word != "" {
			return p, false // more than one line, or ${1%.*}: not the parameter itself
		}
		if op == ":-" || op == "-" || op == ":=" || op == "=" {
			p.Required, p.Default = false, literal(word)
		}
		rest = after
	}
	if quote != "" {
		if !strings.HasPrefix(rest, quote) {
			return p, false // "$1 and more"
		}
		rest = rest[len(quote):]
	}
	if rest != "" && !strings.ContainsAny(rest[:1], " \t;&|") {
		return p, false // $1/suffix
	}
	if _, comment, ok := strings.Cut(rest, "#"); ok {
		p.Doc = strings.TrimSpace(comment)
	}
	return p, true
}

// expansion splits "word}after" at the brace that ends a parameter expansion.
func expansion(s string) (word, after string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			if i > 0 && s[i-1] == '$' {
				depth++
			}
		case '}':
			if depth == 0 {
				return s[:i], s[i+1:], true
			}
			depth--
		}
	}
	return "", "", false
}

// literal is the JSON of a default that needs no shell to know; nil otherwise.
func literal(word string) json.RawMessage {
	if n := len(word); n >= 2 && (word[0] == '\'' || word[0] == '"') && word[n-1] == word[0] {
		word = word[1 : n-1]
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		switch c := word[i]; c {
		case '$', '`':
			return nil
		case '\\':
			if i++; i == len(word) {
				return nil
			}
			b.WriteByte(word[i])
		default:
			b.WriteByte(c)
		}
	}
	out, err := json.Marshal(b.String())
	if err != nil {
		return nil
	}
	return out
}

// leadingComment is the comment a script begins with, after the shebang.
func leadingComment(source string) string {
	var lines []string
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#!") && len(lines) == 0 || line == "" && len(lines) == 0 {
			continue
		}
		if !strings.HasPrefix(line, "#") {
			break
		}
		lines = append(lines, strings.TrimPrefix(strings.TrimLeft(line, "#"), " "))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
