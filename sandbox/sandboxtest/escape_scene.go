package sandboxtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// Scene is what probes are aimed at: files and services of this host, and a victim, a process in another slot that holds a secret.
type Scene struct {
	// Without names probes that nothing is promised about, each with the reason.
	Without map[string]string

	strength sandbox.Strength
	network  sandbox.Network
	env      map[string]string
}

// NewScene sets the scene until the end of the test, with the victim in a slot of its own.
func NewScene(t *testing.T, i sandbox.Isolator, n sandbox.Network) *Scene {
	t.Helper()
	s := &Scene{strength: i.Strength(), network: n, env: map[string]string{}}
	secret := fmt.Sprintf("millrace-secret-%d-%d", os.Getpid(), time.Now().UnixNano())
	s.env["PROBE_SECRET"] = secret
	dir, err := os.MkdirTemp("", "millrace-host-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, file: 0o644} { // whatever the umask
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	s.env["PROBE_FILE"] = file
	for name, path := range map[string]string{"PROBE_POSTGRES": dir + "/.s.PGSQL.5432", "PROBE_DAEMON": dir + "/millrace.sock", "PROBE_ABSTRACT": "@" + secret + "-host"} {
		s.env[name] = path
		listen(t, "unix", path)
		if path[0] == '/' {
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.env["PROBE_HOST_PORT"] = port(listen(t, "tcp4", "127.0.0.1:0"))
	s.env["PROBE_HOST_ANY_PORT"] = port(listen(t, "tcp4", "0.0.0.0:0"))
	s.env["PROBE_HOST_UDP"] = strconv.Itoa(answers(t).LocalAddr().(*net.UDPAddr).Port)
	if l := listen(t, "tcp6", "[::1]:0"); l != nil {
		s.env["PROBE_HOST_PORT6"] = port(l)
	}
	s.env["PROBE_HOST_ADDRESS"] = outerAddress()
	s.victim(t, i)
	return s
}

// victim starts the victim and learns its port.
func (s *Scene) victim(t *testing.T, i sandbox.Isolator) {
	b := &bench{t: t, isolator: i, network: s.network}
	b.slot = b.open()
	spec := b.probe("victim", s.env["PROBE_SECRET"])
	spec.Env = []string{"SECRET=" + s.env["PROBE_SECRET"]}
	p := b.start(spec)
	line, err := bufio.NewReader(p.Output()).ReadString('\n')
	if err != nil {
		t.Fatalf("the victim does not stand: %q %v", line, err)
	}
	s.env["PROBE_PORT"] = strings.TrimSpace(line)
	t.Cleanup(func() { _ = p.Conn().(interface{ CloseWrite() error }).CloseWrite(); finish(t, p) })
}

// Env tells a probe where to aim; init says whether it runs under the sandbox's init.
func (s *Scene) Env(init bool) map[string]string {
	out := map[string]string{}
	for k, v := range s.env {
		out[k] = v
	}
	if init {
		out["PROBE_INIT"] = "1"
	}
	return out
}

// listen serves connections by closing them. Only for tcp6 may there be nothing to listen on.
func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		if network == "tcp6" {
			return nil
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "host\n")
			_ = c.Close()
		}
	}()
	return l
}

// answers is a service over UDP on the host's loopback.
func answers(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 16)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte("host"), from)
		}
	}()
	return c
}

func port(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }

// outerAddress is an IPv4 address of this host that others could reach, "" when it has none.
func outerAddress() string {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			return ip.IP.String()
		}
	}
	return ""
}

// Judge reads what "probe all" printed inside: everything that is promised must have been refused.
func (s *Scene) Judge(t *testing.T, who, output string) Row {
	t.Helper()
	return s.judge(t, who+": probes", verdict{outcomes(output), controls(t).probes, traits})
}

// JudgeLeftovers reads what "probe find" printed inside after a "probe leave": nothing may have been found.
func (s *Scene) JudgeLeftovers(t *testing.T, who, output string) Row {
	t.Helper()
	return s.judge(t, who+": leftovers", verdict{outcomes(output), controls(t).leftovers, traits})
}

// JudgeOwn reads what a program's own attempts printed inside, and, as their control, without walls.
func (s *Scene) JudgeOwn(t *testing.T, who, output, outside string) Row {
	t.Helper()
	return s.judge(t, who+": own ways", verdict{outcomes(output), outcomes(outside), traits})
}

// verdict is what came of the same attempts inside and without walls.
type verdict struct {
	inside, outside map[string]outcome
	traits          map[string]trait
}

func (s *Scene) judge(t *testing.T, who string, v verdict) Row {
	t.Helper()
	inside, outside := v.inside, v.outside
	r := Row{Who: who, Mode: s.strength.Mode, Network: string(s.network), Reasons: map[string]int{}}
	for name := range outside {
		if _, ran := inside[name]; !ran {
			t.Errorf("%s: %s was not tried", who, name)
		}
	}
	for name, in := range inside {
		trait := v.traits[name]
		r.Probes++
		switch reason, without := s.Without[name]; {
		case without:
			r.Reasons["not promised: "+reason]++
			continue
		case trait.users && s.strength.Lacking(sandbox.LackUsers):
			r.Reasons["not promised: the slot has one user"]++
			continue
		case trait.lacks != "" && s.strength.Lacking(trait.lacks):
			r.Reasons["not promised: the isolator has no "+trait.lacks]++
			continue
		case trait.through&networks[s.network].through != 0:
			r.Reasons["not promised: network "+string(s.network)]++
			continue
		case in.code == 2:
			t.Errorf("%s: %s could not be tried: %s", who, name, in.text)
			continue
		case in.code == 0:
			t.Errorf("%s: %s worked: %s", who, name, in.text)
			continue
		}
		r.Refused++
		out, ran := outside[name]
		switch {
		case ran && out.code == 0:
			r.Confirmed++
		case trait.alone != "":
			r.Reasons["no control: "+trait.alone]++
		case !ran:
			t.Errorf("%s: %s was not tried without walls", who, name)
		case absent(out.text):
			r.Reasons["no control: this host has not got it"]++
			t.Logf("no control of %s: %s", name, out.text)
		case out.code == 1 && strings.Contains(out.text, "ermi"): // EPERM, EACCES
			r.Reasons["no control: this host denies it to this user"]++
			t.Logf("no control of %s: %s", name, out.text)
		default:
			t.Errorf("%s does not work without walls, so it proves nothing: %s", name, out.text)
		}
	}
	return r
}
