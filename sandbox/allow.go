package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxAllow bounds the entries of one allow-list.
const MaxAllow = 256

// Allow is one entry of an allow-list: what a slot with NetworkEgress may contact. One of Name and Prefix is set.
type Allow struct {
	Name     string       // a host's name, in lower case and without a final dot
	Below    bool         // names below Name are meant, and not Name itself: "*.example.org"
	Prefix   netip.Prefix // addresses
	Port     uint16       // TCP or UDP; 0: any
	original string
}

// String is the entry as it was written.
func (a Allow) String() string { return a.original }

// ParseAllow reads "host", "host:port", "*.example.org:443", "192.0.2.7:5432" or "10.0.0.0/8:5432".
func ParseAllow(s string) (Allow, error) {
	a := Allow{original: s}
	host := s
	if at := strings.LastIndexByte(s, ':'); at >= 0 {
		port, err := strconv.ParseUint(s[at+1:], 10, 16)
		if err != nil || port == 0 || strings.ContainsRune(s[:at], ':') {
			return a, allowError(s, "what follows the colon is not a port (1 to 65535); IPv6 addresses are not possible")
		}
		host, a.Port = s[:at], uint16(port)
	}
	if prefix, err := parsePrefix(host); err == nil {
		if !prefix.Addr().Is4() {
			return a, allowError(s, "slots have no IPv6")
		}
		a.Prefix = prefix.Masked()
		return a, nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		host, a.Below = rest, true
	}
	if err := checkName(host); err != nil {
		return a, allowError(s, err.Error())
	}
	a.Name = host
	return a, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.ContainsRune(s, '/') {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func allowError(s, why string) error {
	return fmt.Errorf("%q: %s; an entry is host, host:port, *.domain:port, address:port or network/bits:port", s[:min(len(s), 80)], why)
}

// checkName takes names that a resolver can be asked for. Underscores are for service records, which some hosts carry too.
func checkName(s string) error {
	if s == "" || len(s) > 253 {
		return errors.New("a name has 1 to 253 characters")
	}
	letters := false
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q is not a host's name", s)
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z' || c == '_':
				letters = true
			case c == '-', c >= '0' && c <= '9':
			default:
				return fmt.Errorf("%q is not a host's name (others than ASCII are written as xn--...)", s)
			}
		}
	}
	if !letters {
		return fmt.Errorf("%q is neither a name nor an address", s)
	}
	return nil
}

// ParseAllows reads a whole list; the error names the first wrong entry.
func ParseAllows(list []string) ([]Allow, error) {
	if len(list) > MaxAllow {
		return nil, fmt.Errorf("the list has %d entries, %d are possible", len(list), MaxAllow)
	}
	out := make([]Allow, 0, len(list))
	for _, s := range list {
		a, err := ParseAllow(s)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// Covers tells whether the entry means name, which is in lower case and without a final dot.
func (a Allow) Covers(name string) bool {
	switch {
	case a.Name == "":
		return false
	case a.Below:
		return strings.HasSuffix(name, "."+a.Name)
	}
	return name == a.Name
}
