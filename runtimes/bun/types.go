package bun

import (
	"encoding/json"

	"github.com/millrace/millrace/runtimes/scan"
)

// shape is the kind of a type.
type shape byte

const (
	anything     shape = iota // what no JSON Schema is made of: functions, conditional types, ...
	named                     // name, args
	lit                       // value
	array                     // args[0]
	object                    // fields, index
	union                     // args
	intersection              // args
)

// typ is a type expression.
type typ struct {
	shape  shape
	name   string // dotted
	args   []typ
	value  json.RawMessage
	fields []field
	index  *typ // of { [key: string]: T }
}

// field is a property of an object type.
type field struct {
	name     string
	optional bool
	typ      typ
	doc      string
}

// typeParser reads type expressions from tokens. It never fails: what it does not know is anything.
type typeParser struct {
	src   *source
	toks  []token
	at    int
	depth int
}

func (p *typeParser) peek() token {
	if p.at < len(p.toks) {
		return p.toks[p.at]
	}
	return token{Kind: scan.EOF}
}

func (p *typeParser) take(s string) bool {
	if p.peek().Is(s) {
		p.at++
		return true
	}
	return false
}

// parse reads one type and leaves at after it.
func (p *typeParser) parse() typ {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > 60 {
		p.at = len(p.toks)
		return typ{}
	}
	t := p.union()
	if p.take("extends") { // A extends B ? C : D
		p.union()
		if p.take("?") {
			p.parse()
			if p.take(":") {
				p.parse()
			}
		}
		return typ{}
	}
	if p.take("is") { // a type guard
		p.parse()
		return typ{shape: named, name: "boolean"}
	}
	return t
}

func (p *typeParser) union() typ { return p.list("|", union, p.intersection) }

func (p *typeParser) intersection() typ { return p.list("&", intersection, p.postfix) }

// list reads members between separators; one alone is itself.
func (p *typeParser) list(sep string, s shape, member func() typ) typ {
	p.take(sep) // a leading one is allowed
	first := member()
	if !p.peek().Is(sep) {
		return first
	}
	out := typ{shape: s, args: []typ{first}}
	for p.take(sep) {
		out.args = append(out.args, member())
	}
	return out
}

// postfix reads T[], T["key"].
func (p *typeParser) postfix() typ {
	t := p.primary()
	for p.peek().Is("[") {
		end := skipBracket(p.toks, p.at)
		if end == p.at+2 {
			t = typ{shape: array, args: []typ{t}}
		} else {
			t = typ{}
		}
		p.at = end
	}
	return t
}

func (p *typeParser) primary() typ {
	t := p.peek()
	switch {
	case t.Is("("):
		return p.parenthesis()
	case t.Is("<"): // <T>(x: T) => U
		if end := skipAngles(p.toks, p.at); end > p.at {
			p.at = end
			p.primary()
		} else {
			p.at++
		}
		return typ{}
	case t.Is("{"):
		end := skipBracket(p.toks, p.at)
		inner := &typeParser{src: p.src, toks: p.toks[p.at+1 : max(p.at+1, end-1)], depth: p.depth}
		p.at = end
		return inner.object()
	case t.Is("["):
		return p.tuple()
	case t.Kind == scan.String:
		p.at++
		if s, ok := unquote(t.Text); ok {
			return typ{shape: lit, value: marshalText(s)}
		}
		return typ{shape: named, name: "string"} // a template of types
	case t.Kind == scan.Number:
		p.at++
		if n, ok := numberJSON(t.Text); ok {
			return typ{shape: lit, value: n}
		}
		return typ{}
	case t.Is("-"):
		p.at++
		n := p.primary()
		if n.shape == lit {
			n.value = append(json.RawMessage{'-'}, n.value...)
		}
		return n
	case t.Kind == scan.Word:
		return p.word()
	}
	return typ{} // nothing of ours: the caller stops here
}

func (p *typeParser) parenthesis() typ {
	end := skipBracket(p.toks, p.at)
	if end < len(p.toks) && p.toks[end].Is("=>") {
		p.at = end + 1
		p.parse()
		return typ{}
	}
	inner := &typeParser{src: p.src, toks: p.toks[p.at+1 : max(p.at+1, end-1)], depth: p.depth}
	p.at = end
	return inner.parse()
}

// tuple becomes an array; of its items only what all have in common is kept.
func (p *typeParser) tuple() typ {
	end := skipBracket(p.toks, p.at)
	inner := &typeParser{src: p.src, toks: p.toks[p.at+1 : max(p.at+1, end-1)], depth: p.depth}
	p.at = end
	out := typ{shape: union}
	for inner.at < len(inner.toks) {
		inner.take("...")
		if inner.at+1 < len(inner.toks) && inner.peek().Kind == scan.Word && inner.toks[inner.at+1].Is(":") {
			inner.at += 2 // a label
		}
		out.args = append(out.args, inner.parse())
		inner.take("?")
		if !inner.take(",") {
			break
		}
	}
	if len(out.args) == 0 {
		return typ{shape: array, args: []typ{{}}}
	}
	return typ{shape: array, args: []typ{out}}
}

func (p *typeParser) word() typ {
	t := p.peek()
	p.at++
	switch t.Text {
	case "true", "false":
		return typ{shape: lit, value: json.RawMessage(t.Text)}
	case "readonly", "unique", "infer", "asserts", "abstract":
		return p.postfix()
	case "keyof":
		p.postfix()
		return typ{shape: named, name: "string"}
	case "typeof", "new", "import":
		p.postfix()
		for p.take(".") {
			p.at++
		}
		return typ{}
	}
	out := typ{shape: named, name: t.Text}
	for p.peek().Is(".") && p.at+1 < len(p.toks) && p.toks[p.at+1].Kind == scan.Word {
		out.name += "." + p.toks[p.at+1].Text
		p.at += 2
	}
	if !p.peek().Is("<") {
		return out
	}
	end := skipAngles(p.toks, p.at)
	if end == p.at {
		return out
	}
	inner := &typeParser{src: p.src, toks: p.toks[p.at+1 : end-1], depth: p.depth}
	p.at = end
	for inner.at < len(inner.toks) {
		before := inner.at
		out.args = append(out.args, inner.parse())
		if !inner.take(",") || inner.at == before {
			break
		}
	}
	return out
}

// object reads the fields between braces.
func (p *typeParser) object() typ {
	out := typ{shape: object}
	for p.at < len(p.toks) {
		before := p.at
		if p.take(",") || p.take(";") {
			continue
		}
		p.member(&out)
		if p.at == before {
			p.at++
		}
	}
	return out
}

func (p *typeParser) member(out *typ) {
	f := field{doc: p.doc()}
	if p.peek().Is("readonly") && p.at+1 < len(p.toks) && !p.toks[p.at+1].Is(":") && !p.toks[p.at+1].Is("?") {
		p.at++
	}
	t := p.peek()
	switch {
	case t.Is("["): // [key: string]: T, or a mapped type
		end := skipBracket(p.toks, p.at)
		p.at = end
		p.take("?")
		if p.take(":") {
			v := p.parse()
			out.index = &v
		}
		return
	case t.Kind == scan.String:
		f.name, _ = unquote(t.Text)
	case t.Kind == scan.Word || t.Kind == scan.Number:
		f.name = t.Text
	default:
		return
	}
	p.at++
	f.optional = p.take("?")
	if p.peek().Is("<") {
		p.at = max(skipAngles(p.toks, p.at), p.at+1)
	}
	if p.peek().Is("(") { // a method
		p.at = skipBracket(p.toks, p.at)
		if p.take(":") {
			p.parse()
		}
		return
	}
	if p.take(":") {
		f.typ = p.parse()
	}
	out.fields = append(out.fields, f)
}

// doc is the comment before the next token.
func (p *typeParser) doc() string {
	if p.src == nil || p.at >= len(p.toks) {
		return ""
	}
	return p.src.commentBefore(p.toks[p.at])
}
