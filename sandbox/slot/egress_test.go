package slot

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/network/networktest"
	"github.com/millrace/millrace/sandbox/resolver"
	"github.com/millrace/millrace/sandbox/resolver/resolvertest"
)

// TestEgress runs TestEgressAlone in a network namespace of its own.
func TestEgress(t *testing.T) {
	root(t)
	status, err := networktest.Again([]string{builtEnv + "=" + build(t)}, "-test.v", "-test.run=^TestEgressAlone$")
	if err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
}

// visits answers what slots ask of the API, with their visitor.
type visits struct {
	mu   sync.Mutex
	seen []*Visit
}

func (v *visits) serve(c net.Conn) {
	visit := c.(*Visit)
	v.mu.Lock()
	v.seen = append(v.seen, visit)
	v.mu.Unlock()
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%v", visit.Visitor())
	}
	_ = c.Close()
}

// contact is a script that prints what came of contacting an address.
func contact(address string, port int) string {
	return fmt.Sprintf("(exec 3<>/dev/tcp/%s/%d && cat <&3) 2>&1; echo", address, port)
}

func bash(script string) sandbox.Spec {
	return sandbox.Spec{Argv: []string{"/bin/bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

// expect runs a contact and looks for what must come of it.
func expect(t *testing.T, s sandbox.Slot, what, script, want string) {
	t.Helper()
	if _, out := run(t, s, bash(script)); !strings.Contains(out, want) {
		t.Errorf("%s: %q, want %q", what, strings.TrimSpace(out), want)
	}
}

const refusal = "Connection refused"

func TestEgressAlone(t *testing.T) {
	if !networktest.Alone() {
		t.Skip("started by TestEgress")
	}
	networktest.Connect(t)
	v := &visits{}
	start := func(t *testing.T, p place, extra ...string) *Isolator {
		p.helper.Extra = append(p.helper.Extra, extra...)
		i, err := Spawn(context.Background(), p.helper, Options{
			Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel), API: v.serve,
			Names: resolver.Config{Servers: []string{resolvertest.Names(t, networktest.Host, 0)}}})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	ended := func(t *testing.T, i *Isolator) *Isolator {
		t.Cleanup(func() {
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		})
		return i
	}
	t.Run("Lack", func(t *testing.T) {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0o644); err != nil {
			t.Fatal(err)
		}
		i := ended(t, start(t, newPlace(t)))
		if !i.Strength().Lacking(sandbox.LackEgress) {
			t.Errorf("strength %+v", i.Strength())
		}
		if _, err := i.Open(context.Background(), plain(sandbox.NetworkEgress)); err == nil || !strings.Contains(err.Error(), "ip_forward") {
			t.Errorf("a slot was opened: %v", err)
		}
	})
	i := ended(t, start(t, newPlace(t), "--ip-forward"))
	if i.Strength().Lacking(sandbox.LackEgress) {
		t.Fatalf("strength %+v", i.Strength())
	}
	t.Run("None", func(t *testing.T) { noneSlot(t, open(t, i, plain(sandbox.NetworkNone))) })
	t.Run("Egress", func(t *testing.T) { egressSlot(t, i) })
	t.Run("AllowList", func(t *testing.T) { listedSlot(t, i) })
	t.Run("Visitors", func(t *testing.T) { visitors(t, i, v) })
	t.Run("HelperKilled", func(t *testing.T) {
		p := newPlace(t)
		i := start(t, p, "--ip-forward")
		lost := open(t, i, plain(sandbox.NetworkEgress))
		pid, err := strconv.Atoi(helperPid(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		within(t, lost.Done(), "the slot's end")
		if err := i.Close(); err == nil {
			t.Error("the helper's death was kept secret")
		}
		s := open(t, ended(t, start(t, p, "--ip-forward")), plain(sandbox.NetworkEgress))
		expect(t, s, "public", contact("203.0.113.5", networktest.Port), networktest.Host)
		expect(t, s, "private", contact("10.9.9.9", networktest.Port), refusal)
	})
}

func noneSlot(t *testing.T, s sandbox.Slot) {
	expect(t, s, "public", contact("203.0.113.5", networktest.Port), "Network is unreachable")
	expect(t, s, "a name", "getent hosts five.example; echo $?", "2")
	n := s.(sandbox.Networked)
	n.Begin("nobody")
	expect(t, s, "the API", `exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3`, "nobody")
	if got := n.End(); len(got) != 0 {
		t.Errorf("contacted %+v", got)
	}
}

func egressSlot(t *testing.T, i *Isolator) {
	s, other := open(t, i, plain(sandbox.NetworkEgress)), open(t, i, plain(sandbox.NetworkEgress))
	n := s.(sandbox.Networked)
	n.Begin("first")
	expect(t, s, "public", contact("203.0.113.5", networktest.Port), networktest.Host)
	expect(t, s, "a name", "getent ahostsv4 six.example", "203.0.113.6")
	expect(t, s, "by name", contact("six.example", networktest.Port), networktest.Host)
	expect(t, s, "no such name", "getent hosts none.example; echo $?", "2")
	neighbour := "100.64.0.6"
	if other.(*Slot).services.link == s.(*Slot).services.link {
		t.Fatal("two slots have one link")
	}
	for what, address := range map[string]string{"private": "10.9.9.9", "metadata": "169.254.169.254", "the host": networktest.Host,
		"the host's end": "100.64.0.1", "another slot": neighbour, "private by name": "private.example"} {
		expect(t, s, what, contact(address, networktest.Port), refusal)
	}
	expect(t, s, "raw sockets", "ping -c1 -W1 203.0.113.5 2>&1; cat /proc/net/if_inet6 2>&1; echo done", "done")
	got := map[string]int{}
	for _, c := range n.End() {
		got[fmt.Sprintf("%s %s:%d %s %v", c.Name, c.Address, c.Port, c.Protocol, c.Refused)] = c.Count
	}
	for _, want := range []string{
		" 203.0.113.5:8080 tcp false", "six.example 203.0.113.6:8080 tcp false", "six.example invalid IP:0 dns false",
		"none.example invalid IP:0 dns false", " 169.254.169.254:8080 tcp true", "private.example 10.9.9.9:8080 tcp true",
		" 198.51.100.1:8080 tcp true",
	} {
		if got[want] == 0 {
			t.Errorf("%q is not in the record %v", want, got)
		}
	}
	expect(t, s, "on nobody's behalf", contact("203.0.113.5", networktest.Port), networktest.Host)
	n.Begin("second")
	expect(t, s, "nothing", "echo idle", "idle")
	if list := n.End(); len(list) != 0 {
		t.Errorf("the next run has the record of the last one: %+v", list)
	}
}

func listedSlot(t *testing.T, i *Isolator) {
	tmpl := plain(sandbox.NetworkEgress)
	tmpl.Allow = []string{"*.example:8080", "203.0.113.5:1"}
	s := open(t, i, tmpl)
	expect(t, s, "before it is asked for", contact("203.0.113.6", networktest.Port), refusal)
	expect(t, s, "an allowed name", contact("six.example", networktest.Port), networktest.Host)
	expect(t, s, "another port of it", contact("six.example", networktest.Port+1), refusal)
	expect(t, s, "an address that is not listed", contact("203.0.113.5", networktest.Port), refusal)
	expect(t, s, "a name that leads inside", contact("private.example", networktest.Port), refusal)
	expect(t, s, "another name", "getent hosts five.test; echo $?", "2")
	refused := false
	for _, c := range s.(sandbox.Networked).End() {
		refused = refused || c.Name == "five.test" && c.Refused
	}
	if !refused {
		t.Error("the refused name is not in the record")
	}
	bad := plain(sandbox.NetworkEgress)
	bad.Allow = []string{"not a name"}
	if s, err := i.Open(context.Background(), bad); err == nil {
		t.Error("a wrong list was taken")
		_ = s.Close()
	}
}

// visitors: a connection belongs to whom the slot worked for when it was made, and ends with them.
func visitors(t *testing.T, i *Isolator, v *visits) {
	s := open(t, i, plain(sandbox.NetworkNone))
	n := s.(sandbox.Networked)
	const call = `exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3`
	for _, who := range []string{"one", "two"} {
		n.Begin(who)
		expect(t, s, "the API", call, who)
		n.End()
	}
	expect(t, s, "between two", call, "<nil>")
	// A connection that stays open without a request.
	n.Begin("three")
	p, err := s.Start(context.Background(), bash(`exec 3<>/dev/tcp/127.0.0.1/8000; echo open; cat <&3; echo closed`))
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewScanner(p.Output())
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("%q %v", out.Text(), out.Err())
	}
	n.End()
	if !out.Scan() || out.Text() != "closed" {
		t.Errorf("the connection outlives its visitor: %q %v", out.Text(), out.Err())
	}
	if _, err := p.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	_ = p.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, visit := range v.seen {
		if visit.Visitor() == "three" {
			return
		}
	}
	t.Log("the connection was cut before it was served")
}
