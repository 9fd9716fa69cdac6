package pool

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestCodes(t *testing.T) {
	var c codes
	now := time.Now()
	want := func(key, compiled string, ask bool) {
		t.Helper()
		if got, asks := c.look(key, now); string(got) != compiled || asks != ask {
			t.Errorf("%s: got %q, %t, want %q, %t", key, got, asks, compiled, ask)
		}
	}
	want("a", "", false) // many a program runs once
	want("a", "", true)
	c.keep("a", nil, now) // it did not say
	want("a", "", true)
	c.keep("a", make([]byte, codeMost+1), now)
	want("a", "", true)
	c.keep("a", []byte("one"), now)
	c.keep("a", []byte("two"), now) // two runs were asked at once
	want("a", "one", false)
	c.keep("b", []byte("b"), now) // nobody knows it
	want("b", "", false)
	if c.bytes != 3 {
		t.Errorf("%d bytes are counted", c.bytes)
	}
}

// TestCodesHaveAnEnd: neither many programs nor large ones are kept for ever.
func TestCodesHaveAnEnd(t *testing.T) {
	var c codes
	now := time.Now()
	large := bytes.Repeat([]byte("x"), codeMost)
	for i := range 2 * codesBytes / codeMost {
		key := fmt.Sprint("large", i)
		c.look(key, now)
		c.keep(key, large, now)
		if c.bytes > codesBytes {
			t.Fatalf("%d bytes", c.bytes)
		}
	}
	for i := range 2 * codesKnown {
		c.look(fmt.Sprint(i), now)
		if len(c.known) > codesKnown {
			t.Fatalf("%d programs", len(c.known))
		}
	}
}

// TestCodesKeepWhatIsUsed: what was used lately stays when there is no room for what was not.
func TestCodesKeepWhatIsUsed(t *testing.T) {
	var c codes
	now := time.Now()
	for i := range codesKnown - 1 {
		c.look(fmt.Sprint(i), now.Add(-2*hotWithin))
	}
	c.look("lately", now)
	c.keep("lately", []byte("x"), now)
	c.look("new", now)
	if got, _ := c.look("lately", now); len(c.known) != 2 || got == nil {
		t.Errorf("%d programs are left, of the one that was used lately %q", len(c.known), got)
	}
}
