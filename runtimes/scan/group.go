package scan

import "strings"

// Match returns the index of the bracket that closes the one at open, -1 if there is none or tokens[open] is no opening
// bracket. Brackets of all kinds must nest properly up to it.
func Match(tokens []Token, open int) int {
	var want []byte
	for i := open; i >= 0 && i < len(tokens); i++ {
		if tokens[i].Kind != Punct {
			if len(want) == 0 {
				return -1
			}
			continue
		}
		switch text := tokens[i].Text; text {
		case "(":
			want = append(want, ')')
		case "[":
			want = append(want, ']')
		case "{":
			want = append(want, '}')
		case ")", "]", "}":
			if len(want) == 0 || want[len(want)-1] != text[0] {
				return -1
			}
			want = want[:len(want)-1]
			if len(want) == 0 {
				return i
			}
		default:
			if len(want) == 0 {
				return -1
			}
		}
	}
	return -1
}

// Split cuts tokens at each punctuation sep that is outside all brackets. Parts may be empty; no tokens, no parts.
func Split(tokens []Token, sep string) [][]Token {
	if len(tokens) == 0 {
		return nil
	}
	var parts [][]Token
	start := 0
	for {
		i := Index(tokens[start:], sep)
		if i < 0 {
			return append(parts, tokens[start:])
		}
		parts = append(parts, tokens[start:start+i])
		start += i + 1
	}
}

// Index returns the index of the first punctuation s outside all brackets, -1 if there is none.
func Index(tokens []Token, s string) int {
	depth := 0
	for i, t := range tokens {
		if depth == 0 && t.Kind == Punct && t.Text == s {
			return i
		}
		if t.Kind != Punct {
			continue
		}
		switch t.Text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth = max(0, depth-1)
		}
	}
	return -1
}

// Code returns tokens without comments and line ends.
func Code(tokens []Token) []Token {
	out := make([]Token, 0, len(tokens))
	for _, t := range tokens {
		if t.Kind != Comment && t.Kind != Newline {
			out = append(out, t)
		}
	}
	return out
}

// Text is the source between the first and the last of tokens, as it was written.
func Text(src string, tokens []Token) string {
	if len(tokens) == 0 {
		return ""
	}
	return src[tokens[0].Pos:tokens[len(tokens)-1].End()]
}

// Uncomment strips marks and common decoration from the text of a comment: "/** a\n * b */" is "a\nb".
func Uncomment(text string) string {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "/*"), "*/")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		line = strings.TrimLeft(line, "#/*")
		lines[i] = strings.TrimRight(strings.TrimPrefix(line, " "), " \t\r")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
