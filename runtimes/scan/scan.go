// Package scan cuts source text into tokens for signature parsers that need not understand a whole language: enough to find
// main, its parameters and the brackets around them, without being fooled by strings and comments.
package scan

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/runtimes"
)

// Kind says what a token is.
type Kind uint8

// The kinds of tokens.
const (
	EOF     Kind = iota // the last token of every list
	Word                // identifier or keyword
	Number              // as written
	String              // with its quotes
	Punct               // one character, or one of Language.Operators
	Comment             // with its marks
	Newline             // only where Language.Newlines is set
)

// Token is a piece of source.
type Token struct {
	Kind Kind
	Text string // exactly as in the source
	Pos  int    // byte offset
	Line int    // from 1
	Col  int    // byte column from 0: the indentation, for the first token of a line
}

// End is the offset after t.
func (t Token) End() int { return t.Pos + len(t.Text) }

// Is says whether t is the word or the punctuation s.
func (t Token) Is(s string) bool { return (t.Kind == Word || t.Kind == Punct) && t.Text == s }

// Quote describes a kind of string.
type Quote struct {
	Open, Close string
	Escape      bool   // a backslash takes away the next character's meaning
	Multiline   bool   // may contain line ends
	Nest        string // opens a nested expression that ends with "}": "${" in JavaScript templates
}

// Language says how a language writes what scan must recognise.
type Language struct {
	LineComments  []string    // "#", "//"
	BlockComments [][2]string // {"/*", "*/"}
	Quotes        []Quote     // longest Open first
	Operators     []string    // punctuation of more than one character, longest first: "**", "=>", "->"
	WordChars     string      // characters of words besides letters, digits and underscore: "$"
	Newlines      bool        // report line ends as tokens
	Regexps       bool        // /.../ is a literal where no operand can end
	Prefixes      string      // letters that may stand before a quote and belong to the string: "rbfuRBFU"
}

// Tokens cuts src. An unfinished string or comment is a *runtimes.SourceError, returned with the tokens before it and the EOF.
func Tokens(src string, l Language) ([]Token, error) {
	s := &scanner{src: src, lang: l, line: 1, out: make([]Token, 0, len(src)/4+1)}
	err := s.run()
	s.out = append(s.out, Token{Kind: EOF, Pos: len(src), Line: s.line, Col: len(src) - s.bol})
	return s.out, err
}

type scanner struct {
	src  string
	lang Language
	pos  int
	line int
	bol  int // offset where the current line begins
	out  []Token
}

func (s *scanner) run() error {
	for s.pos < len(s.src) {
		rest := s.src[s.pos:]
		switch c := rest[0]; {
		case c == '\n':
			if s.lang.Newlines {
				s.emit(Newline, 1)
			} else {
				s.skip(1)
			}
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			s.pos++
			continue
		case c == '\\' && s.lang.Newlines && strings.HasPrefix(strings.TrimPrefix(rest[1:], "\r"), "\n"):
			s.skip(2) // a continued line
			continue
		}
		if done, err := s.comment(rest); err != nil {
			return err
		} else if done {
			continue
		}
		if done, err := s.text(rest); err != nil {
			return err
		} else if done {
			continue
		}
		if s.lang.Regexps && rest[0] == '/' && s.operandExpected() {
			if n := regexpLength(rest); n > 0 {
				s.emit(String, n)
				continue
			}
		}
		s.plain(rest)
	}
	return nil
}

func (s *scanner) comment(rest string) (bool, error) {
	for _, mark := range s.lang.LineComments {
		if strings.HasPrefix(rest, mark) {
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			s.emit(Comment, len(strings.TrimSuffix(rest[:n], "\r")))
			return true, nil
		}
	}
	for _, marks := range s.lang.BlockComments {
		if strings.HasPrefix(rest, marks[0]) {
			n := strings.Index(rest[len(marks[0]):], marks[1])
			if n < 0 {
				return false, s.fail("comment is not closed")
			}
			s.emit(Comment, len(marks[0])+n+len(marks[1]))
			return true, nil
		}
	}
	return false, nil
}

func (s *scanner) text(rest string) (bool, error) {
	n := 0
	for n < len(rest) && n < 2 && strings.IndexByte(s.lang.Prefixes, rest[n]) >= 0 {
		n++
	}
	for ; n >= 0; n-- {
		for _, q := range s.lang.Quotes {
			if !strings.HasPrefix(rest[n:], q.Open) {
				continue
			}
			size := quoted(rest[n:], q, 0)
			if size < 0 {
				return false, s.fail("string is not closed")
			}
			s.emit(String, n+size)
			return true, nil
		}
	}
	return false, nil
}

// quoted returns the length of the string at the start of src, -1 if it does not end.
func quoted(src string, q Quote, depth int) int {
	i := len(q.Open)
	for i < len(src) {
		switch {
		case q.Escape && src[i] == '\\':
			i += 2
		case strings.HasPrefix(src[i:], q.Close):
			return i + len(q.Close)
		case q.Nest != "" && depth < 20 && strings.HasPrefix(src[i:], q.Nest):
			n := nested(src[i+len(q.Nest):], q, depth+1)
			if n < 0 {
				return -1
			}
			i += len(q.Nest) + n
		case src[i] == '\n' && !q.Multiline:
			return -1
		default:
			i++
		}
	}
	return -1
}

// nested returns the length of an expression inside a template up to and with its closing brace.
func nested(src string, q Quote, depth int) int {
	open := 1
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i + 1
			}
		case '"', '\'':
			n := quoted(src[i:], Quote{Open: string(c), Close: string(c), Escape: true}, depth)
			if n < 0 {
				return -1
			}
			i += n - 1
		default:
			if strings.HasPrefix(src[i:], q.Open) {
				n := quoted(src[i:], q, depth)
				if n < 0 {
					return -1
				}
				i += n - 1
			}
		}
	}
	return -1
}

func (s *scanner) plain(rest string) {
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case s.wordChar(r) && !unicode.IsDigit(r):
		n := size
		for n < len(rest) {
			r, w := utf8.DecodeRuneInString(rest[n:])
			if !s.wordChar(r) {
				break
			}
			n += w
		}
		s.emit(Word, n)
	case unicode.IsDigit(r):
		s.emit(Number, numberLength(rest, size))
	default:
		for _, op := range s.lang.Operators {
			if strings.HasPrefix(rest, op) {
				s.emit(Punct, len(op))
				return
			}
		}
		s.emit(Punct, size)
	}
}

func (s *scanner) wordChar(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || r != utf8.RuneError && strings.ContainsRune(s.lang.WordChars, r)
}

func numberLength(src string, n int) int {
	for n < len(src) {
		c := src[n]
		digit := c >= '0' && c <= '9' || c == '.' || c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		sign := (c == '+' || c == '-') && src[n-1]|0x20 == 'e' && !strings.HasPrefix(src, "0x") && !strings.HasPrefix(src, "0X")
		if !digit && !sign {
			break
		}
		n++
	}
	return n
}

func (s *scanner) emit(k Kind, n int) {
	s.out = append(s.out, Token{Kind: k, Text: s.src[s.pos : s.pos+n], Pos: s.pos, Line: s.line, Col: s.pos - s.bol})
	s.skip(n)
}

func (s *scanner) skip(n int) {
	text := s.src[s.pos : s.pos+n]
	if lines := strings.Count(text, "\n"); lines > 0 {
		s.line += lines
		s.bol = s.pos + strings.LastIndexByte(text, '\n') + 1
	}
	s.pos += n
}

func (s *scanner) fail(message string) error {
	return &runtimes.SourceError{Name: "SyntaxError", Message: message, Line: s.line}
}

// operandExpected says whether a slash here begins a regular expression and is not a division.
func (s *scanner) operandExpected() bool {
	for i := len(s.out) - 1; i >= 0; i-- {
		switch t := s.out[i]; t.Kind {
		case Comment, Newline:
			continue
		case Word:
			switch t.Text {
			case "return", "typeof", "case", "in", "of", "new", "delete", "void", "throw", "do", "else", "await", "yield":
				return true
			}
			return false
		case Number, String:
			return false
		default:
			return t.Text != ")" && t.Text != "]" && t.Text != "}"
		}
	}
	return true
}

// regexpLength returns the length of the regular expression at the start of src, 0 if there is none.
func regexpLength(src string) int {
	class := false
	for i := 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '[':
			class = true
		case ']':
			class = false
		case '\n':
			return 0
		case '/':
			if class {
				continue
			}
			for i++; i < len(src) && src[i]|0x20 >= 'a' && src[i]|0x20 <= 'z'; i++ {
			}
			return i
		}
	}
	return 0
}
