package bun

import "github.com/millrace/millrace/runtimes/scan"

// function is a function of the top level, by indexes into the tokens.
type function struct {
	start    int // of its statement: the comment before it is its own
	open     int // its "("
	name     int // of its only parameter, when that has no parentheses; else -1
	async    bool
	generics []string
}

// module is what the top level of a script declares.
type module struct {
	functions map[string]*function // by local name
	exports   map[string]string    // exported name -> local name
}

// exported is the function that others see as name. A default export is main when nothing else is.
func (m *module) exported(name string) *function {
	if local, ok := m.exports[name]; ok {
		return m.functions[local]
	}
	if local, ok := m.exports["default"]; ok && name == "main" {
		return m.functions[local]
	}
	return nil
}

// functions finds declarations and exports at the top level.
func functions(s *source) *module {
	m := &module{functions: map[string]*function{}, exports: map[string]string{}}
	toks := s.toks
	start := 0
	for i := 0; i < len(toks); {
		t := toks[i]
		if i > 0 && (toks[i-1].Is(";") || toks[i-1].Is("}") || toks[i-1].Line < t.Line) {
			start = i
		}
		switch {
		case t.Is("(") || t.Is("[") || t.Is("{"):
			i = skipBracket(toks, i)
			continue
		case t.Is("export"):
			i = m.export(s, i)
			continue
		case i > start:
		case t.Is("function") || t.Is("async") && i+1 < len(toks) && toks[i+1].Is("function"):
			m.declare(s, i, start)
		case t.Is("const") || t.Is("let") || t.Is("var"):
			m.declare(s, i, start)
		case t.Is("module") || t.Is("exports"):
			m.commonJS(s, i)
		}
		i++
	}
	return m
}

// export reads an export statement at i and returns where to go on.
func (m *module) export(s *source, i int) int {
	toks, at := s.toks, i+1
	if at >= len(toks) {
		return at
	}
	switch t := toks[at]; {
	case t.Is("{"): // export { a, b as main }
		end := skipBracket(toks, at)
		if end < len(toks) && toks[end].Is("from") {
			return end
		}
		m.names(toks[at+1:max(at+1, end-1)], "as")
		return end
	case t.Is("default"):
		at++
		if at < len(toks) && toks[at].Kind == scan.Word && !toks[at].Is("async") && !toks[at].Is("function") &&
			!(toks[at].Is("workflow") && at+1 < len(toks) && toks[at+1].Is("(")) && (at+1 == len(toks) || !toks[at+1].Is("=>")) {
			m.exports["default"] = toks[at].Text // export default main;
			return at + 1
		}
		if f, local := readFunction(toks, at); f != nil {
			f.start = i
			if local == "" {
				local = "default"
			}
			m.functions[local] = f
			m.exports["default"] = local
			if local == "main" || local == "preprocessor" {
				m.exports[local] = local
			}
			return at + 1
		}
		return at
	}
	if local := m.declare(s, at, i); local != "" {
		m.exports[local] = local
	}
	return at + 1
}

// names reads "a, b as main" or, with ":", "main: b".
func (m *module) names(toks []token, sep string) {
	for _, part := range scan.Split(toks, ",") {
		switch {
		case len(part) == 1:
			m.exports[part[0].Text] = part[0].Text
		case len(part) == 3 && part[1].Is(sep) && sep == "as":
			m.exports[part[2].Text] = part[0].Text
		case len(part) == 3 && part[1].Is(sep):
			m.exports[part[0].Text] = part[2].Text
		}
	}
}

// declare reads a function, or a variable that holds one, at i. It returns its name, "" if it is neither.
func (m *module) declare(s *source, i, start int) string {
	toks := s.toks
	if toks[i].Is("function") || toks[i].Is("async") {
		f, name := readFunction(toks, i)
		if f == nil || name == "" {
			return ""
		}
		f.start = start
		m.functions[name] = f
		return name
	}
	if !toks[i].Is("const") && !toks[i].Is("let") && !toks[i].Is("var") || i+2 >= len(toks) || toks[i+1].Kind != scan.Word {
		return ""
	}
	name, at := toks[i+1].Text, i+2
	if toks[at].Is(":") {
		p := &typeParser{toks: toks, at: at + 1}
		p.parse()
		at = p.at
	}
	if at >= len(toks) || !toks[at].Is("=") {
		return ""
	}
	f, _ := readFunction(toks, at+1)
	if f == nil {
		return ""
	}
	f.start = start
	m.functions[name] = f
	return name
}

// commonJS reads module.exports = { main } and exports.main = main, or = function.
func (m *module) commonJS(s *source, i int) {
	toks, at := s.toks, i
	if toks[at].Is("module") {
		if at+2 >= len(toks) || !toks[at+1].Is(".") || !toks[at+2].Is("exports") {
			return
		}
		at += 2
	}
	name := "default"
	if at+2 < len(toks) && toks[at+1].Is(".") {
		name = toks[at+2].Text
		at += 2
	}
	if at+2 >= len(toks) || !toks[at+1].Is("=") {
		return
	}
	at += 2
	if toks[at].Is("{") && name == "default" {
		m.names(toks[at+1:max(at+1, skipBracket(toks, at)-1)], ":")
		return
	}
	if f, local := readFunction(toks, at); f != nil {
		f.start = i
		if local == "" {
			local = "exports." + name
		}
		m.functions[local] = f
		m.exports[name] = local
	} else if toks[at].Kind == scan.Word {
		m.exports[name] = toks[at].Text
	}
}

// readFunction reads [async] function [*] [name] [<T>] ( or [async] [<T>] (...) => or [async] x =>. nil: none is there.
func readFunction(toks []token, i int) (*function, string) {
	f := &function{name: -1}
	word := func(s string) bool {
		if i < len(toks) && toks[i].Is(s) {
			i++
			return true
		}
		return false
	}
	name := ""
	if i+1 < len(toks) && toks[i].Is("workflow") && toks[i+1].Is("(") { // workflow(async (x) => ...)
		i += 2
	}
	f.async = word("async")
	isFunction := word("function")
	if isFunction {
		word("*")
	}
	if i < len(toks) && toks[i].Kind == scan.Word {
		if !isFunction {
			if i+1 < len(toks) && toks[i+1].Is("=>") {
				f.name = i
				return f, ""
			}
			return nil, ""
		}
		name = toks[i].Text
		i++
	}
	f.generics, i = generics(toks, i)
	if i >= len(toks) || !toks[i].Is("(") {
		return nil, ""
	}
	f.open = i
	if isFunction {
		return f, name
	}
	end := skipBracket(toks, i)
	if end < len(toks) && toks[end].Is(":") { // a result type
		p := &typeParser{toks: toks, at: end + 1}
		p.parse()
		end = p.at
	}
	if end < len(toks) && toks[end].Is("=>") {
		return f, ""
	}
	return nil, ""
}
