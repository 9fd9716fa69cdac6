package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// pair returns a client's connection through a proxy and the server's end of it.
func pair(t *testing.T, rewrite func([]byte) []byte) (*Proxy, net.Conn, net.Conn) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p, err := New(socket, rewrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	client, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return p, client, server
}

func exchange(t *testing.T, client, server net.Conn) {
	t.Helper()
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestCuts(t *testing.T) {
	t.Parallel()
	for how, want := range map[Cut][2]string{ // what the server gets of "request", and the client of "answer"
		Request: {"req", ""}, Answer: {"request", ""}, HalfAnswer: {"request", "ans"},
	} {
		p, client, server := pair(t, nil)
		exchange(t, client, server)
		p.Break(how)
		if !p.Armed() {
			t.Fatal("not armed")
		}
		if _, err := client.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want[0]))
		if _, err := io.ReadFull(server, got); err != nil || string(got) != want[0] {
			t.Fatalf("%d: the server got %q, %v", how, got, err)
		}
		if how != Request {
			if _, err := server.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := io.ReadAll(client)
		// What had arrived before a reset may be thrown away by it.
		if !bytes.HasPrefix([]byte(want[1]), answer) || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%d: the client got %q, %v", how, answer, err)
		}
		if p.Armed() || p.Cuts() != 1 {
			t.Fatalf("%d: armed %v, %d cuts", how, p.Armed(), p.Cuts())
		}
	}
}

func TestCutEverything(t *testing.T) {
	t.Parallel()
	p, client, server := pair(t, nil)
	exchange(t, client, server)
	p.Break(Everything)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the client sees %v", err)
	}
}

func message(kind string, text string) []byte {
	n := len(text) + 4
	return append([]byte(kind), append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, text...)...)
}

func TestAsync(t *testing.T) {
	t.Parallel()
	var a Async
	_, client, server := pair(t, a.Rewrite)
	in := [][]byte{
		message("", "user\x00x\x00synchronous_commit\x00on\x00\x00"), message("Q", "select set_config('synchronous_commit', 'on', false)\x00"),
		message("Q", "select 'on'\x00"),
	}
	want := [][]byte{
		message("", "user\x00x\x00synchronous_commit\x00off\x00\x00"), message("Q", "select set_config('synchronous_commit', 'off', false)\x00"), in[2],
	}
	for i := range in {
		if _, err := client.Write(in[i]); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want[i]))
		if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want[i]) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if a.Rewritten.Load() != 2 {
		t.Fatalf("%d messages were rewritten", a.Rewritten.Load())
	}
}
