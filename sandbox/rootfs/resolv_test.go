package rootfs

import "testing"

func TestSlotResolver(t *testing.T) {
	for _, c := range []struct{ host, want string }{
		{"", "nameserver 127.0.0.1\n"},
		{"# mine\nnameserver 192.0.2.53\nnameserver ::1\noptions edns0 trust-ad\n", "nameserver 127.0.0.1\n"},
		{"search a.example  b.example\noptions timeout:1 ndots:2\nnameserver 192.0.2.53\n",
			"nameserver 127.0.0.1\nsearch a.example b.example\noptions ndots:2\n"},
		{"domain a.example", "nameserver 127.0.0.1\ndomain a.example\n"},
	} {
		if got := string(slotResolver([]byte(c.host))); got != c.want {
			t.Errorf("%q: got %q, want %q", c.host, got, c.want)
		}
	}
}
