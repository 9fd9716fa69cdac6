// Package told reads what the kernel tells of conversations that slots begin: messages of a netfilter log group, as the helper
// configures it (sandbox/network) and the daemon receives it.
package told

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Message is the beginning of one conversation.
type Message struct {
	Link     int // index of the host's end of the slot's link
	Address  netip.Addr
	Port     uint16 // 0 where the protocol has none
	Protocol string // "tcp", "udp", "icmp" or a number
	Refused  bool
}

// From linux/netfilter/nfnetlink_log.h.
const (
	packet    = unix.NFNL_SUBSYS_ULOG << 8
	attrIn    = 4
	attrBytes = 9
	attrWords = 10
	attrMask  = 0x3fff // without the bits for nested and byte order

	sizeofNfgenmsg = 4
)

// refusedPrefix begins the words that rules give to what they reject.
const refusedPrefix = '-'

// Parse calls fn for every message in one datagram. What is malformed, or not IPv4, is left out.
func Parse(data []byte, fn func(Message)) {
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return
		}
		if binary.NativeEndian.Uint16(data[4:]) == packet && size >= unix.SizeofNlMsghdr+sizeofNfgenmsg {
			if m, ok := parse(data[unix.SizeofNlMsghdr+sizeofNfgenmsg : size]); ok {
				fn(m)
			}
		}
		data = data[min(len(data), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
	}
}

func parse(attrs []byte) (m Message, ok bool) {
	for len(attrs) >= unix.NLA_HDRLEN {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.NLA_HDRLEN || size > len(attrs) {
			return m, false
		}
		value := attrs[unix.NLA_HDRLEN:size]
		switch binary.NativeEndian.Uint16(attrs[2:]) & attrMask {
		case attrIn:
			if len(value) >= 4 {
				m.Link = int(binary.BigEndian.Uint32(value))
			}
		case attrWords:
			m.Refused = len(value) > 0 && value[0] == refusedPrefix
		case attrBytes:
			ok = m.destination(value)
		}
		attrs = attrs[min(len(attrs), (size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
	return m, ok && m.Link != 0
}

// destination reads the headers of a packet.
func (m *Message) destination(p []byte) bool {
	if len(p) < 20 || p[0]>>4 != 4 {
		return false
	}
	header := int(p[0]&15) * 4
	m.Address = netip.AddrFrom4([4]byte(p[16:20]))
	switch p[9] {
	case unix.IPPROTO_TCP:
		m.Protocol = "tcp"
	case unix.IPPROTO_UDP:
		m.Protocol = "udp"
	case unix.IPPROTO_ICMP:
		m.Protocol = "icmp"
		return true
	default:
		m.Protocol = strconv.Itoa(int(p[9]))
		return true
	}
	if header >= 20 && len(p) >= header+4 {
		m.Port = binary.BigEndian.Uint16(p[header+2:])
	}
	return true
}
