package bun

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/runtimes/scan"
)

// language is TypeScript. Operators that end with ">" or "=" after ">" are left apart: in types they are brackets.
var language = scan.Language{
	LineComments:  []string{"//"},
	BlockComments: [][2]string{{"/*", "*/"}},
	Quotes: []scan.Quote{
		{Open: "`", Close: "`", Escape: true, Multiline: true, Nest: "${"},
		{Open: `"`, Close: `"`, Escape: true},
		{Open: `'`, Close: `'`, Escape: true},
	},
	Operators: []string{"===", "!==", "...", "=>", "==", "!=", "??", "?.", "&&", "||", "**", "++", "--"},
	WordChars: "$",
	Regexps:   true,
}

type token = scan.Token

// source is a script cut into tokens.
type source struct {
	text     string
	toks     []token     // without comments
	comments map[int]int // index of a token -> index in all of the comment right before it
	all      []token
	hashbang bool  // the first comment is none
	err      error // why the rest of the text could not be cut
}

func lex(text string) *source {
	text = strings.TrimPrefix(text, "\ufeff")
	s := &source{text: text, comments: map[int]int{}, hashbang: strings.HasPrefix(text, "#!")}
	if s.hashbang {
		s.text = "//" + text[2:]
	}
	s.all, s.err = scan.Tokens(s.text, language)
	for i, t := range s.all {
		switch {
		case t.Kind == scan.Comment:
			continue
		case i > 0 && s.all[i-1].Kind == scan.Comment:
			s.comments[len(s.toks)] = i - 1
		}
		s.toks = append(s.toks, t)
	}
	return s
}

// comment is the text of the comments right before the token at index i: the block comment, or the lines of //.
func (s *source) comment(i int) string {
	at, ok := s.comments[i]
	if !ok {
		return ""
	}
	last := s.all[at]
	if strings.HasPrefix(last.Text, "/*") {
		return scan.Uncomment(last.Text)
	}
	line, lines := s.toks[i].Line, []string{}
	for ; at >= 0 && s.all[at].Kind == scan.Comment && strings.HasPrefix(s.all[at].Text, "//") && s.all[at].Line == line-1; at-- {
		if at == 0 && s.hashbang {
			break
		}
		if at > 0 && s.all[at-1].Kind != scan.Comment && s.all[at-1].Line == s.all[at].Line {
			break // trails other code
		}
		lines = append(lines, scan.Uncomment(s.all[at].Text))
		line--
	}
	slices.Reverse(lines)
	if len(lines) > 0 && slices.Contains([]string{"npm", "nodejs", "native", "nobundling", "sandbox"}, lines[0]) {
		return "" // annotations for the platform
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func syntaxError(line int, message string) error {
	return &runtimes.SourceError{Name: "SyntaxError", Message: message, Line: line}
}

// skipBracket returns the index after the bracket that closes the one at i; the end of toks if nothing does.
func skipBracket(toks []token, i int) int {
	if end := scan.Match(toks, i); end >= 0 {
		return end + 1
	}
	return len(toks)
}

// skipAngles returns the index after the ">" that closes the "<" at i, or i if these are no brackets but comparisons.
func skipAngles(toks []token, i int) int {
	const most = 400 // brackets of types are near; a long chain of comparisons must not cost its square
	depth := 0
	for j := i; j < min(len(toks), i+most); j++ {
		switch t := toks[j]; {
		case t.Is("<"):
			depth++
		case t.Is(">"):
			if depth--; depth == 0 {
				return j + 1
			}
		case t.Is("(") || t.Is("[") || t.Is("{"):
			j = skipBracket(toks, j) - 1
		case t.Is(")") || t.Is("]") || t.Is("}") || t.Is(";") || t.Is("&&") || t.Is("||"):
			return i
		}
	}
	return i
}

// commentBefore is comment for a token given by itself.
func (s *source) commentBefore(t token) string {
	i, ok := slices.BinarySearchFunc(s.toks, t.Pos, func(a token, pos int) int { return a.Pos - pos })
	if !ok {
		return ""
	}
	return s.comment(i)
}
