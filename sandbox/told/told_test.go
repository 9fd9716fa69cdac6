package told_test

import (
	"encoding/binary"
	"testing"

	"github.com/millrace/millrace/sandbox/told"
)

// message builds what the kernel sends, from its documentation.
func message(prefix string, link uint32, packet []byte) []byte {
	attr := func(kind uint16, value []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	body := []byte{2, 0, 0x4d, 0}
	body = append(body, attr(10, append([]byte(prefix), 0))...)
	body = append(body, attr(4, binary.BigEndian.AppendUint32(nil, link))...)
	body = append(body, attr(9, packet)...)
	m := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	m = binary.NativeEndian.AppendUint16(m, 4<<8)
	return append(append(m, make([]byte, 10)...), body...)
}

var tcp = []byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 100, 64, 0, 2, 203, 0, 113, 5, 0x80, 0, 0x01, 0xbb}

func TestParse(t *testing.T) {
	ping := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 100, 64, 0, 2, 203, 0, 113, 5, 8, 0, 0, 0}
	data := append(message("+", 7, tcp), message("-", 8, ping)...)
	var got []told.Message
	told.Parse(data, func(m told.Message) { got = append(got, m) })
	if len(got) != 2 {
		t.Fatalf("got %d messages: %+v", len(got), got)
	}
	if m := got[0]; m.Link != 7 || m.Refused || m.Protocol != "tcp" || m.Port != 443 || m.Address.String() != "203.0.113.5" {
		t.Errorf("the first: %+v", m)
	}
	if m := got[1]; m.Link != 8 || !m.Refused || m.Protocol != "icmp" || m.Port != 0 {
		t.Errorf("the second: %+v", m)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message("+", 7, tcp))
	f.Fuzz(func(t *testing.T, data []byte) {
		told.Parse(data, func(m told.Message) {
			if !m.Address.Is4() || m.Link == 0 || m.Protocol == "" {
				t.Errorf("half a message: %+v", m)
			}
		})
	})
}
