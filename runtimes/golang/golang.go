// Package golang runs Go scripts: a file with a function main that takes parameters and returns a result and an error. It is
// compiled once, with a few generated lines that decode the arguments, into a static binary that speaks frames.
package golang

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Runtime is the language "go".
type Runtime struct{}

var (
	_ runtimes.Runtime   = Runtime{}
	_ runtimes.Resolver  = Runtime{}
	_ runtimes.Builder   = Runtime{}
	_ runtimes.Explainer = Runtime{}
)

// New returns the language.
func New() Runtime { return Runtime{} }

// Info describes the language.
func (Runtime) Info() runtimes.Info {
	return runtimes.Info{Name: "go", Title: "Go", Extensions: []string{".go"}, Tag: "go", Comment: "//"}
}

// Settings that build steps take over from the daemon: how to reach a module registry. The first list is asked of the go
// command, which has files of its own for them.
var (
	goSettings  = []string{"GOPROXY", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOPRIVATE", "GOINSECURE"}
	netSettings = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)

// certificates is the fact of a Host that holds the text of SSL_CERT_FILE, where that is a file that slots do not have.
const certificates = "certificates"

// Detect finds the go command: MILLRACE_GO, the usual places, PATH.
func (Runtime) Detect(ctx context.Context, lib string) (runtimes.Host, error) {
	missing := &runtimes.Missing{What: "go", Fix: "install Go from https://go.dev/dl to /usr/local/go, or set MILLRACE_GO=/path/to/bin/go"}
	tool := find()
	if tool == "" {
		return runtimes.Host{}, missing
	}
	tool, err := filepath.EvalSymlinks(tool)
	if err != nil {
		return runtimes.Host{}, missing
	}
	cmd := exec.CommandContext(ctx, tool, append([]string{"env", "-json", "GOVERSION", "GOROOT"}, goSettings...)...)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	cmd.Dir = "/"
	out, err := cmd.Output()
	if err != nil {
		return runtimes.Host{}, fmt.Errorf("go: ask %s for its version: %w", tool, err)
	}
	var env map[string]string
	if err := json.Unmarshal(out, &env); err != nil {
		return runtimes.Host{}, fmt.Errorf("go: read %s env: %w", tool, err)
	}
	h := runtimes.Host{Lib: lib, Tool: tool, Version: strings.TrimPrefix(env["GOVERSION"], "go"), Extra: map[string]string{}}
	root := env["GOROOT"]
	if own := filepath.Join(root, "bin", "go"); exists(own) { // what was found may be a script that chooses a version
		h.Tool = own
	}
	if !strings.HasPrefix(root, "/usr/") {
		h.Root = root
	}
	for _, name := range goSettings {
		if env[name] != "" {
			h.Extra[name] = env[name]
		}
	}
	for _, name := range netSettings {
		if v := os.Getenv(name); v != "" {
			h.Extra[name] = v
		}
	}
	return h, addCertificates(h.Extra)
}

func addCertificates(extra map[string]string) error {
	file := os.Getenv("SSL_CERT_FILE")
	if file == "" {
		return nil
	}
	for _, seen := range []string{"/etc/ssl/", "/etc/pki/", "/usr/"} {
		if strings.HasPrefix(file, seen) {
			extra["SSL_CERT_FILE"] = file
			return nil
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("go: read SSL_CERT_FILE: %w", err)
	}
	extra[certificates] = string(text)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func find() string {
	if tool := os.Getenv("MILLRACE_GO"); tool != "" {
		if !exists(tool) {
			return ""
		}
		return tool
	}
	for _, tool := range []string{"/usr/local/go/bin/go", "/usr/lib/go/bin/go", "/usr/bin/go"} {
		if exists(tool) {
			return tool
		}
	}
	tool, _ := exec.LookPath("go")
	return tool
}

// Launch runs the binary that Build made.
func (Runtime) Launch(_ runtimes.Host, p runtimes.Program, built runtimes.Artifact) (runtimes.Launch, error) {
	if built.Dir == "" {
		return runtimes.Launch{}, fmt.Errorf("go: %s is not compiled", p.Path)
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/work", "TMPDIR=/work", "LANG=C.UTF-8"}
	if p.Lock == "" {
		// Until the wrapper has read the request. Not with modules of others, which are initialised before it and may count processors.
		env = append(env, "GOMAXPROCS=1")
	}
	return runtimes.Launch{
		Template: sandbox.Template{Name: "exec", Network: p.Network},
		Spec:     sandbox.Spec{Argv: []string{"main"}, Env: env},
		Exec:     filepath.Join(built.Dir, "main"),
		Result:   runtimes.ResultFrame,
	}, nil
}
