package webtest_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/webtest"
)

// guest is the daemon's end of a connection from inside of a slot.
type guest struct {
	net.Conn
	visitor any
}

func (g guest) Visitor() any { return g.visitor }

// call makes one request over a connection from a slot.
func call(t *testing.T, d *webtest.Daemon, visitor any, path, token string) (status int, body string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	inside, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go d.Server.ServeGuest(guest{inside, visitor})
	r, err := http.NewRequest(http.MethodGet, "http://slot"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if err := r.Write(c); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func TestGuests(t *testing.T) {
	t.Parallel()
	d := webtest.Start(t, webtest.NewEngine(), nil)
	ann := engine.Visitor{Job: engine.NewJobID(), Token: "user-secret"}
	const who = "/api/users/whoami"
	for _, c := range []struct {
		name    string
		visitor any
		token   string
		status  int
		want    string
	}{
		{"the job itself", ann, "", 200, `"username":"ann"`},
		{"with credentials of its own", ann, "admin-secret", 200, `"username":"root"`},
		{"wrong credentials are not forgiven", ann, "wrong", 401, ""},
		{"nobody's slot", nil, "", 401, ""},
		{"a visitor of another kind", "ann", "", 401, ""},
		{"a job whose token has ended", engine.Visitor{Token: "old"}, "", 401, ""},
	} {
		if status, body := call(t, d, c.visitor, who, c.token); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
}

func TestGuestsAfterTheEnd(t *testing.T) {
	t.Parallel()
	d := webtest.Start(t, webtest.NewEngine(), nil)
	if err := d.Server.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	inside, outside := net.Pipe()
	d.Server.ServeGuest(guest{inside, nil})
	if _, err := outside.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a stopped server keeps a connection: %v", err)
	}
}

func TestContacts(t *testing.T) {
	t.Parallel()
	e := webtest.NewEngine()
	d := webtest.Start(t, e, nil)
	status, body := call(t, d, engine.Visitor{Token: "user-secret"}, "/api/w/main/jobs_u/get_contacts/"+engine.NewJobID().String(), "")
	if status != 404 {
		t.Errorf("of no job: %d %s", status, body)
	}
	id, err := e.Run(t.Context(), engine.Principal{Username: "ann"}, engine.RunRequest{Workspace: "main", Path: "f/demo/hello"})
	if err != nil {
		t.Fatal(err)
	}
	status, body = call(t, d, engine.Visitor{Token: "user-secret"}, "/api/w/main/jobs_u/get_contacts/"+id.String(), "")
	if status != 200 || !strings.Contains(body, `{"address":"10.0.0.1","port":5432,"protocol":"tcp","refused":true,"count":2}`) {
		t.Errorf("of a job: %d %s", status, body)
	}
	status, body = call(t, d, engine.Visitor{Token: "user-secret"}, "/api/w/main/jobs_u/workflow_steps/"+id.String(), "")
	if status != 200 || !strings.Contains(body, `[{"key":"load_2","kind":"step","state":"success","ended_at":`) {
		t.Errorf("the steps of a job: %d %s", status, body)
	}
	status, body = call(t, d, engine.Visitor{Token: "user-secret"}, "/api/w/main/jobs_u/workflow_steps/"+engine.NewJobID().String(), "")
	if status != 404 {
		t.Errorf("the steps of no job: %d %s", status, body)
	}
}
