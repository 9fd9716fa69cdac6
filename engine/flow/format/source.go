package format

import "slices"

// Source is where a part of a flow was read from. It is embedded in every type; zero for what was built in Go.
type Source struct {
	node *node
}

// Pos is where the part begins.
func (s Source) Pos() Pos {
	if s.node == nil {
		return Pos{}
	}
	return s.node.pos
}

// At is where the value of a field begins; where the part begins when the field was left out.
func (s Source) At(field string) Pos {
	if n := s.node.get(field); n != nil {
		return n.pos
	}
	return s.Pos()
}

// Has tells whether the field was written, be it as null.
func (s Source) Has(field string) bool { return s.node.get(field) != nil }

// Fields are the names of the fields that were written, in their order.
func (s Source) Fields() []string {
	if s.node == nil {
		return nil
	}
	names := make([]string, 0, len(s.node.members))
	for _, m := range s.node.members {
		if !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

// Raw is the JSON of a field as it was written, known to this package or not; nil when it was left out.
func (s Source) Raw(field string) []byte {
	n := s.node.get(field)
	if n == nil {
		return nil
	}
	return n.json()
}

// Inner is the source of what lies in a field whose value is kept as raw JSON, such as a schema or the tools of an agent.
func (s Source) Inner(field string) Source { return Source{node: s.node.get(field)} }
