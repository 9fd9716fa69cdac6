package scan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/runtimes"
)

var python = Language{
	LineComments: []string{"#"},
	Quotes: []Quote{{Open: `"""`, Close: `"""`, Escape: true, Multiline: true}, {Open: `'''`, Close: `'''`, Escape: true, Multiline: true},
		{Open: `"`, Close: `"`, Escape: true}, {Open: `'`, Close: `'`, Escape: true}},
	Operators: []string{"**", "->"}, Newlines: true, Prefixes: "rbfuRBFU",
}

var javascript = Language{
	LineComments: []string{"//"}, BlockComments: [][2]string{{"/*", "*/"}},
	Quotes:    []Quote{{Open: `"`, Close: `"`, Escape: true}, {Open: `'`, Close: `'`, Escape: true}, {Open: "`", Close: "`", Escape: true, Multiline: true, Nest: "${"}},
	Operators: []string{"...", "=>"}, WordChars: "$", Regexps: true,
}

func show(tokens []Token) string {
	var parts []string
	for _, t := range tokens {
		if t.Kind == EOF {
			continue
		}
		parts = append(parts, fmt.Sprintf("%c:%s", "EWNSPCL"[t.Kind], strings.ReplaceAll(t.Text, "\n", "~")))
	}
	return strings.Join(parts, " ")
}

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		name string
		lang Language
		src  string
		want string
	}{
		{"python def", python, "def main(a: int = -1, **k) -> x: # c\n", "W:def W:main P:( W:a P:: W:int P:= P:- N:1 P:, P:** W:k P:) P:-> W:x P:: C:# c L:~"},
		{"python strings", python, `rb"a\"b" '''x` + "\n" + `'y''' f'' "#"`, `S:rb"a\"b" S:'''x~'y''' S:f'' S:"#"`},
		{"python word that looks like a prefix", python, "bar rb r", "W:bar W:rb W:r"},
		{"python continued line", python, "a = \\\n 1", "W:a P:= N:1"},
		{"unicode", python, "größe = 'ü'", "W:größe P:= S:'ü'"},
		{"numbers", python, "1_000 0xfe+1 1.5e-3 1j", "N:1_000 N:0xfe P:+ N:1 N:1.5e-3 N:1j"},
		{"template", javascript, "x = `a${ f({b: '}'}) + `n` }c`;", "W:x P:= S:`a${ f({b: '}'}) + `n` }c` P:;"},
		{"regexp", javascript, "a = /[/'\"]\\//gi, b / c / d", `W:a P:= S:/[/'"]\//gi P:, W:b P:/ W:c P:/ W:d`},
		{"comments", javascript, "/* a\n * b */ $x // c", "C:/* a~ * b */ W:$x C:// c"},
		{"bad utf-8", javascript, "a\xffb", "W:a P:\xff W:b"},
	} {
		tokens, err := Tokens(c.src, c.lang)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := show(tokens); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestPositions(t *testing.T) {
	tokens, err := Tokens("a\n  '''x\ny''' b\n c", python)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range Code(tokens) {
		got = append(got, fmt.Sprintf("%d:%d", k.Line, k.Col))
	}
	if s := strings.Join(got, " "); s != "1:0 2:2 3:5 4:1 4:2" {
		t.Errorf("got %s", s)
	}
}

func TestUnclosed(t *testing.T) {
	for _, c := range []struct {
		lang Language
		src  string
		line int
	}{{python, "a\n'b\n", 2}, {python, "\n\n'''b\n\n", 3}, {javascript, "/* x", 1}, {javascript, "`${", 1}, {javascript, "'\\", 1}} {
		_, err := Tokens(c.src, c.lang)
		var e *runtimes.SourceError
		if !errors.As(err, &e) || e.Line != c.line || e.Name != "SyntaxError" {
			t.Errorf("%q: got %v", c.src, err)
		}
	}
}

func TestGroups(t *testing.T) {
	src := "(a, [b, {c}], d) e"
	tokens, _ := Tokens(src, javascript)
	end := Match(tokens, 0)
	if end < 0 || Text(src, tokens[:end+1]) != "(a, [b, {c}], d)" {
		t.Fatalf("match: %d", end)
	}
	var parts []string
	for _, p := range Split(tokens[1:end], ",") {
		parts = append(parts, Text(src, p))
	}
	if got := strings.Join(parts, "|"); got != "a|[b, {c}]|d" {
		t.Errorf("split: %s", got)
	}
	if Match(tokens, 1) != -1 || Match(tokens, -1) != -1 || Split(nil, ",") != nil {
		t.Error("a word matches, or nothing splits")
	}
	for _, bad := range []string{"(]", "((", "(a}"} {
		if tokens, _ := Tokens(bad, javascript); Match(tokens, 0) != -1 {
			t.Errorf("%s matches", bad)
		}
	}
}

func TestUncomment(t *testing.T) {
	for in, want := range map[string]string{"# a": "a", "/** a\n  * b\n  */": "a\nb", "//x": "x", "/* one */": "one", "///": ""} {
		if got := Uncomment(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("def main(a='x'):\n  pass")
	f.Add("export function main(a = `x${1}`) { return /a/ }")
	f.Add("'\\")
	f.Fuzz(func(t *testing.T, src string) {
		for _, l := range []Language{python, javascript} {
			tokens, _ := Tokens(src, l)
			last := 0
			for i, k := range tokens {
				if k.Pos < last || k.End() > len(src) || src[k.Pos:k.End()] != k.Text {
					t.Fatalf("token %d %+v overlaps or lies", i, k)
				}
				if k.Kind != EOF && k.Text == "" {
					t.Fatalf("empty token %+v", k)
				}
				last = k.End()
				if end := Match(tokens, i); end >= 0 && end <= i {
					t.Fatalf("match of %d is %d", i, end)
				}
			}
			Split(tokens, ",")
		}
	})
}
