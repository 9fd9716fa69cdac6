package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/sandbox/network/networktest"
	"github.com/millrace/millrace/sandbox/resolver/resolvertest"
	"github.com/millrace/millrace/web/client"
	"github.com/millrace/millrace/web/wire"
)

// TestEgress runs TestEgressAlone in a network namespace of its own, which forwards whatever the host does.
func TestEgress(t *testing.T) {
	binary(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	status, err := networktest.Again(nil, "-test.v", "-test.run=^TestEgressAlone$")
	if err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
}

// clients are each language's usual way to ask a web server. Arguments are a host and a port; the result is what it answers.
var clients = map[string]string{
	"python3": "import urllib.request\ndef main(host: str, port: int):\n" +
		"    return urllib.request.urlopen(f'http://{host}:{port}/', timeout=5).read().decode()\n",
	"bun": "export async function main(host: string, port: number) {\n" +
		"  return await (await fetch(`http://${host}:${port}/`, {signal: AbortSignal.timeout(5000)})).text()\n}\n",
	"go": "package inner\nimport (\n\t\"fmt\"\n\t\"io\"\n\t\"net/http\"\n\t\"time\"\n)\n" +
		"func main(host string, port int) (any, error) {\n\tc := http.Client{Timeout: 5 * time.Second}\n" +
		"\tr, err := c.Get(fmt.Sprintf(\"http://%s:%d/\", host, port))\n\tif err != nil {\n\t\treturn nil, err\n\t}\n" +
		"\tb, err := io.ReadAll(r.Body)\n\treturn string(b), err\n}\n",
	"bash": "host=\"$1\"\nport=\"$2\"\nset -e\nexec 5<>\"/dev/tcp/$host/$port\"\nprintf 'GET / HTTP/1.0\\r\\n\\r\\n' >&5\ncat <&5 | tail -n 1\n",
}

// outward is one attempt: where to, and whether it must come through.
type outward struct {
	what, host string
	port       int
	through    bool
}

// soon is how long a refused attempt may take. It is refused at once; what takes time is a busy machine.
const soon = 4 * time.Second

func TestEgressAlone(t *testing.T) {
	if !networktest.Alone() {
		t.Skip("started by TestEgress")
	}
	networktest.Connect(t)
	resolvertest.Names(t, networktest.Host, 53)
	networktest.Must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
	data := folder(t)
	resolv := filepath.Join(data, "resolv.conf")
	networktest.Must(t, os.WriteFile(resolv, []byte("nameserver "+networktest.Host+"\n"), 0o644))
	networktest.Must(t, os.Chmod(resolv, 0o644))
	// The daemon alone has that file for the host's.
	d := startBy(t, []string{"unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv}, data, "--slots", "4")
	if !strings.Contains(d.log.String(), "jobs that do not say have network egress") {
		t.Fatalf("there is no egress here:\n%s", d.log)
	}
	for language, source := range clients {
		t.Run(language, func(t *testing.T) {
			d := d.with(t)
			t.Run("Open", func(t *testing.T) { d.with(t).open(language, source) })
			t.Run("Listed", func(t *testing.T) { d.with(t).listed(language, source) })
		})
	}
}

// reach runs a script that contacts somebody and returns what came of it.
func (d *daemon) reach(hash, host string, port int) *wire.Job {
	d.t.Helper()
	args, err := json.Marshal(map[string]any{"host": host, "port": port})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.finish(client.Run{Hash: hash, Args: args})
}

// try makes one attempt.
func (d *daemon) try(hash string, o outward) *wire.Job {
	d.t.Helper()
	j := d.reach(hash, o.host, o.port)
	took := time.Duration(0)
	if j.DurationMS != nil {
		took = time.Duration(*j.DurationMS) * time.Millisecond
	}
	switch through := j.Success != nil && *j.Success; {
	case through != o.through:
		d.t.Errorf("%s (%s:%d): through %v, want %v: %s\n%s", o.what, o.host, o.port, through, o.through, result(j), j.Logs)
	case through && result(j) != fmt.Sprintf("%q", networktest.Host):
		d.t.Errorf("%s is answered %s, want the host's address: slots go out masqueraded", o.what, result(j))
	case !through && took > soon:
		d.t.Errorf("%s is refused after %v", o.what, took)
	}
	return j
}

// open is a script without a list: the internet, and nothing that is near.
func (d *daemon) open(language, source string) {
	hash := d.deploy(wire.NewScript{Path: "f/net/open_" + language, Language: language, Content: source})
	for _, o := range []outward{
		{"an address", "203.0.113.5", networktest.WebPort, true},
		{"a name", "six.example", networktest.WebPort, true},
		{"no such name", "none.example", networktest.WebPort, false},
		{"the metadata service", "169.254.169.254", networktest.WebPort, false},
		{"a private network", "10.9.9.9", networktest.WebPort, false},
		{"another private network", "192.168.7.7", networktest.WebPort, false},
		{"a private network by name", "private.example", networktest.WebPort, false},
		{"the host", networktest.Host, networktest.WebPort, false},
		{"the host's loopback", "127.0.0.1", networktest.WebPort, false},
		{"the host's end of a link", "100.64.0.1", networktest.WebPort, false},
		{"another slot", "100.64.0.6", networktest.WebPort, false},
		{"a port where nobody is", "203.0.113.5", 9, false},
	} {
		j := d.try(hash, o)
		switch o.what {
		case "a name":
			d.contacted(j.ID, "six.example dns", "six.example (203.0.113.6:80/tcp)")
		case "the metadata service":
			d.contacted(j.ID, "refused 169.254.169.254:80/tcp")
		case "a private network by name":
			d.contacted(j.ID, "private.example dns", "refused private.example (10.9.9.9:80/tcp)")
		}
	}
}

// listed is a script with a list: what it names, on the ports that it names.
func (d *daemon) listed(language, source string) {
	list, err := json.Marshal([]string{"six.example:80", "private.example", "203.0.113.5:8080", language + ".example"}) // runs of one list may share a slot
	if err != nil {
		d.t.Fatal(err)
	}
	hash := d.deploy(wire.NewScript{Path: "f/net/listed_" + language, Language: language, Content: source, Network: "egress",
		More: map[string]json.RawMessage{"network_allow": list}})
	for _, o := range []outward{
		{"an address that the name has not resolved to yet", "203.0.113.6", networktest.WebPort, false},
		{"a name of the list", "six.example", networktest.WebPort, true},
		{"another port of it", "six.example", networktest.Port, false},
		{"another name", "five.example", networktest.WebPort, false},
		{"another port of an address of the list", "203.0.113.5", networktest.WebPort, false},
		{"a name of the list that leads inside", "private.example", networktest.WebPort, false},
	} {
		j := d.try(hash, o)
		switch o.what {
		case "a name of the list":
			d.contacted(j.ID, "six.example (203.0.113.6:80/tcp)")
			d.shown(j.ID, "contacted  six.example (203.0.113.6:80/tcp)")
		case "another port of it":
			d.contacted(j.ID, "refused six.example (203.0.113.6:8080/tcp)")
		case "another name":
			d.contacted(j.ID, "refused five.example dns")
			d.shown(j.ID, "refused    five.example")
		}
	}
}

func (d *daemon) deploy(s wire.NewScript) (hash string) {
	d.t.Helper()
	hash, err := d.CreateScript(d.t.Context(), s, false)
	if err != nil {
		d.t.Fatal(err)
	}
	return hash
}

// contacted looks for entries of the record of a run.
func (d *daemon) contacted(id uuid.UUID, want ...string) {
	d.t.Helper()
	list, err := d.Contacts(d.t.Context(), id)
	if err != nil {
		d.t.Error(err)
	}
	var got []string
	for _, c := range list {
		text := c.String()
		if c.Protocol == "dns" {
			text += " dns"
		}
		if c.Refused {
			text = "refused " + text
		}
		got = append(got, text)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			d.t.Errorf("%q is not in the record: %q", w, got)
		}
	}
}

// shown looks for a line of what the command line says of a run.
func (d *daemon) shown(id uuid.UUID, want string) {
	d.t.Helper()
	out, err := exec.Command(binary(d.t), "job", "get", id.String(), "--socket", filepath.Join(d.data, "run", "millrace.sock")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		d.t.Errorf("millrace job get: %v, %q is not in:\n%s", err, want, out)
	}
}
