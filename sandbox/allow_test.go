package sandbox

import "testing"

func TestParseAllow(t *testing.T) {
	for _, c := range []struct {
		in, name, prefix string
		below            bool
		port             uint16
	}{
		{in: "example.org", name: "example.org"},
		{in: "Example.ORG.:443", name: "example.org", port: 443},
		{in: "*.example.org:443", name: "example.org", below: true, port: 443},
		{in: "localhost:1", name: "localhost", port: 1},
		{in: "_sip.example.org", name: "_sip.example.org"},
		{in: "192.0.2.7", prefix: "192.0.2.7/32"},
		{in: "192.0.2.7:5432", prefix: "192.0.2.7/32", port: 5432},
		{in: "10.1.2.3/8:5432", prefix: "10.0.0.0/8", port: 5432},
		{in: "0.0.0.0/0:25", prefix: "0.0.0.0/0", port: 25},
	} {
		a, err := ParseAllow(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		prefix := ""
		if a.Prefix.IsValid() {
			prefix = a.Prefix.String()
		}
		if a.Name != c.name || prefix != c.prefix || a.Below != c.below || a.Port != c.port || a.String() != c.in {
			t.Errorf("%q: got %+v", c.in, a)
		}
	}
	for _, bad := range []string{"", ":443", "a:0", "a:65536", "a:b", "*", "*.", "a..b", "-a.org", "a b", "a/b", "10.0.0.0/33", "300.1.1.1",
		"::1", "[::1]:80", "fe80::/10", "*.*.org", "müller.de", "http://a.org", "a.org/path", "1.2.3"} {
		if a, err := ParseAllow(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, a)
		}
	}
}

func TestAllowCovers(t *testing.T) {
	for _, c := range []struct {
		entry, name string
		want        bool
	}{
		{"example.org", "example.org", true},
		{"example.org", "www.example.org", false},
		{"*.example.org", "www.example.org", true},
		{"*.example.org", "a.b.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", "badexample.org", false},
		{"10.0.0.0/8", "10.0.0.1", false},
	} {
		a, err := ParseAllow(c.entry)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Covers(c.name); got != c.want {
			t.Errorf("%s covers %s: %v", c.entry, c.name, got)
		}
	}
}
