package webtest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
)

const formType = "application/x-www-form-urlencoded"

// question is an approval with a field of every kind, and texts that want to be markup.
func question() *engine.Approval {
	return &engine.Approval{State: engine.ApprovalWaiting, Path: "f/demo/release", AskedBy: "ann", AskedAt: Hour, Step: "a", Required: 2,
		Summary: `Release <script>alert("x")</script>`, Description: json.RawMessage(`"Ship version 1.2 & \"all\" of it?"`), Until: &Hour,
		Approvers: []engine.FlowApprover{{Approver: `<b>bob</b>`}},
		Schema: json.RawMessage(`{"order":["target","count"],"required":["target","count"],"properties":{
			"target":{"type":"string","enum":["<staging>","production"],"default":"production","description":"Where to?"},
			"count":{"type":"integer","minimum":1,"maximum":9,"default":3},
			"share":{"type":"number"},
			"force":{"type":"boolean","default":true},
			"day":{"type":"string","format":"date"},
			"at":{"type":"string","format":"date-time"},
			"hosts":{"type":"array","items":{"type":"string"},"default":["a","b"]},
			"more":{"type":"object","default":{"k":"</textarea>"}},
			"note":{"type":"string","title":"A note"}}}`)}
}

func TestApprovalPage(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	id := aFlowAtWork(t, e).String()
	e.Ask(question())
	path := "/approve/main/" + id + "/7/" + Signature
	form := map[string]string{"Content-Type": formType}
	play(t, d, []scenario{
		{name: "the page", path: path, token: "-", status: 200, kind: "text/html", want: []string{`Release &lt;script&gt;`, `Ship version 1.2 &amp; &#34;all&#34; of it?`, "f/demo/release",
			`&lt;staging&gt;`, `<option value="1" selected>production`, `type="number" value="3" required step="1" min="1" max="9"`, `type="checkbox"`, `checked`, `type="date"`, `type="datetime-local"`,
			"a\nb</textarea>", `&lt;/textarea&gt;`, "A note", `value="approve"`, `value="deny"`, "&lt;b&gt;bob"}, not: []string{"<script>alert", "<b>bob", "http://", "https://"}},
		{name: "looking answers nothing", path: path, token: "-", status: 200, not: []string{"Approved by"}},
		{name: "another signature", path: "/approve/main/" + id + "/7/00", token: "-", status: 403, kind: "text/html", want: []string{"nothing to approve"}},
		{name: "another job", path: "/approve/main/" + strings.Repeat("0", 36) + "/7/00", token: "-", status: 400, kind: "text/html"},
		{name: "no answer", method: "POST", path: path, token: "-", header: form, body: "f.count=3", status: 400, want: []string{"say whether"}},
		{name: "a field is missing", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&f.target=0", status: 400, want: []string{"count: it must be filled in", `<option value="0" selected>`}},
		{name: "a number that is none", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&f.target=0&f.count=2.5", status: 400, want: []string{"a whole number", `value="2.5"`}},
		{name: "a number that is too large", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&f.target=0&f.count=10", status: 400, want: []string{"at most 9"}},
		{name: "a choice that is none", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&f.target=7&f.count=1", status: 400, want: []string{"choose one"}},
		{name: "an object that is none", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&f.target=0&f.count=1&f.more=<x>", status: 400, want: []string{"it is not JSON", "&lt;x&gt;</textarea>"}},
	})
	if got := e.Answers(); len(got) != 0 {
		t.Fatalf("answered: %+v", got)
	}
	resp := scenario{method: "POST", path: path, token: "-", header: form, status: 303,
		body: "_answer=approve&f.target=0&f.count=2&f.share=0.5&f.day=2026-12-01&f.at=2026-12-01T10:30&f.hosts=x%0D%0A+y+%0D%0A&f.more={\"a\":1}&f.note=hi"}.run(t, d)
	if to := resp.Header.Get("Location"); to != path {
		t.Errorf("sent to %q", to)
	}
	want := `{"at":"2026-12-01T10:30:00Z","count":2,"day":"2026-12-01","force":false,"hosts":["x","y"],"more":{"a":1},"note":"hi","share":0.5,"target":"\u003cstaging\u003e"}`
	if got := e.Answers(); len(got) != 1 || !got[0].Approved || string(got[0].Payload) != want {
		t.Errorf("%+v with %s", got, got[0].Payload)
	}
	scenario{path: path, token: "-", status: 200, want: []string{"Approved by"}, not: []string{"<form"}}.run(t, d)
	resp = scenario{path: path, token: "-", status: 200}.run(t, d)
	for name, part := range map[string]string{"Content-Security-Policy": "default-src 'none'; style-src 'nonce-", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := resp.Header.Get(name); !strings.HasPrefix(got, part) {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// TestApprovalPageMinimal has the page say what is asked, and nothing about the flow.
func TestApprovalPageMinimal(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	id := aFlowAtWork(t, e).String()
	ask := question()
	ask.Minimal = true
	e.Ask(ask)
	play(t, d, []scenario{{name: "the page", path: "/approve/main/" + id + "/7/" + Signature, token: "-", status: 200,
		want: []string{"Release", "Ship version", `value="approve"`, `name="f.count"`}, not: []string{"f/demo/release", "started by", "Approved so far", "bob"}}})
}

func TestApprovalPageRules(t *testing.T) {
	t.Parallel()
	e := NewEngine()
	d := Start(t, e, nil)
	id := aFlowAtWork(t, e).String()
	e.Ask(&engine.Approval{State: engine.ApprovalWaiting, Login: true, HideCancel: true})
	path := "/approve/main/" + id + "/8/" + Signature
	form := map[string]string{"Content-Type": formType}
	play(t, d, []scenario{
		{name: "asks for a token", path: path, token: "-", status: 200, want: []string{`name="_token"`}, not: []string{`value="deny"`}},
		{name: "not of who is known", path: path, token: "user-secret", status: 200, not: []string{`name="_token"`}},
		{name: "no token", method: "POST", path: path, token: "-", header: form, body: "_answer=approve", status: 401, want: []string{"needs an account", "<form"}},
		{name: "a wrong token", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&_token=nonsense", status: 401, want: []string{"not valid"}, not: []string{"nonsense"}},
		{name: "it cannot be denied", method: "POST", path: path, token: "user-secret", header: form, body: "_answer=deny", status: 400, want: []string{"only be approved"}},
		{name: "a cookie of another site", method: "POST", path: path, token: "-", header: map[string]string{"Content-Type": formType, "Cookie": "token=user-secret", "Sec-Fetch-Site": "cross-site"},
			body: "_answer=approve", status: 401},
		{name: "a token", method: "POST", path: path, token: "-", header: form, body: "_answer=approve&_token=user-secret", status: 303},
	})
	if got := e.Answers(); len(got) != 1 || got[0].Approver != "ann" {
		t.Errorf("%+v", got)
	}
	e.Ask(&engine.Approval{State: engine.ApprovalOver})
	scenario{path: "/approve/main/" + id + "/9/" + Signature, token: "-", status: 200, want: []string{"No answer is needed"}, not: []string{"<form"}}.run(t, d)
}

// TestApprovalPageInBrowser draws the page in a real browser, where there is one: with MILLRACE_SCREENSHOTS set to a folder, the
// pictures stay there.
func TestApprovalPageInBrowser(t *testing.T) {
	t.Parallel()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here: packaging/setup.sh --browser gets it")
	}
	e := NewEngine()
	d := Start(t, e, nil)
	id := aFlowAtWork(t, e).String()
	e.Ask(question())
	url := d.URL + "/approve/main/" + id + "/7/" + Signature
	folder := os.Getenv("MILLRACE_SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--v=0"}
	for name, more := range map[string][]string{"phone": {"--window-size=500,1400"}, "dark": {"--window-size=900,1400", "--blink-settings=preferredColorScheme=0"}} {
		picture := filepath.Join(folder, name+".png")
		said, err := exec.CommandContext(ctx, browser, append(append(append([]string{}, args...), more...), "--screenshot="+picture, url)...).CombinedOutput()
		if st, sErr := os.Stat(picture); err != nil || sErr != nil || st.Size() == 0 {
			t.Fatalf("%v, %v: %s", err, sErr, said)
		}
		for _, bad := range []string{"Content Security Policy", "Uncaught"} {
			if strings.Contains(string(said), bad) {
				t.Errorf("the browser says: %s", said)
			}
		}
	}
}
