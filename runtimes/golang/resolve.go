package golang

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

//go:embed wrapper/job/job.go
var jobSource []byte

//go:embed wrapper/main.go.txt
var mainSource []byte

// The go command runs nothing that it downloads or compiles (cgo and foreign toolchains are off), so what it compiled may
// serve all workspaces. Modules may be private to one.
const (
	buildCache  = "shared-gobuild"
	moduleCache = "gomod"
)

// sumMark separates go.mod from go.sum in a lock, as in Windmill's.
const sumMark = "//go.sum"

// rootInside is where slots see a Go installation that does not lie under /usr.
const rootInside = "/opt/go"

const modHead = "module millrace.job\n"

// Resolve finds exact versions of the modules that a source imports. Versions can be pinned by comments of the form
// "//require github.com/a/b v1.2.3".
func (Runtime) Resolve(h runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	s, err := parse(p.Source)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(s.imports(), external) {
		return nil, nil
	}
	source, err := compiled(p.Source, entryOf(s, p))
	if err != nil {
		return nil, err
	}
	mod := modHead + goLine(h) + pins(p.Source)
	r := recipe(h, "lock", sandbox.NetworkHost, p.Workspace, source, mod)
	script := `cd src && "$GO" mod tidy && { cat go.mod; echo "` + sumMark + `"; cat go.sum; } > /out/lock`
	spec := step(h, files(source, mod, ""), "/bin/sh", "-c", script)
	spec.Env = append(spec.Env, "GO="+tool(h))
	r.Steps = []runtimes.Step{{Title: "resolve Go modules", Spec: spec}}
	return r, nil
}

// Build compiles p.
func (Runtime) Build(h runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	source, err := compiled(p.Source, p.Entry)
	if err != nil {
		return nil, err
	}
	mod, sum := modHead+goLine(h), ""
	network := sandbox.NetworkNone
	if p.Lock != "" {
		mod, sum, _ = strings.Cut(p.Lock, sumMark+"\n")
		network = sandbox.NetworkHost
	}
	r := recipe(h, "bin", network, source, mod, sum)
	argv := []string{tool(h), "build", "-C", "src", "-ldflags=-s -w", "-o", "/out/main", "."}
	r.Steps = []runtimes.Step{{Title: "compile", Spec: step(h, files(source, mod, sum), argv...)}}
	return r, nil
}

// WarmRecipe compiles what nearly every script needs, so that the first one is as fast as the rest. Its output is empty; the
// point is the cache that it leaves.
func (Runtime) WarmRecipe(h runtimes.Host) *runtimes.Recipe {
	const source = "package inner\n\nfunc main() {}\n"
	code, err := compiled(source, "")
	if err != nil {
		return nil // never: the source is right
	}
	mod := modHead + goLine(h)
	r := recipe(h, "warm", sandbox.NetworkNone, code, mod)
	argv := []string{tool(h), "build", "-C", "src", "-ldflags=-s -w", "-o", "/out/", ".", "bufio", "context", "crypto/hmac", "crypto/rand", "crypto/sha256",
		"database/sql", "encoding/base64", "encoding/csv", "encoding/hex", "encoding/xml", "errors", "html/template", "io/fs", "iter", "log/slog",
		"maps", "math/rand/v2", "net/http", "net/mail", "net/smtp", "net/url", "os/exec", "path/filepath", "regexp", "slices", "sort", "strconv",
		"strings", "sync/atomic", "text/tabwriter", "time"}
	r.Steps = []runtimes.Step{{Title: "compile the standard library", Spec: step(h, files(code, mod, ""), argv...)}}
	return r
}

func entryOf(s *script, p runtimes.Program) string {
	if p.Entry == "" && s.function("main") == nil && s.function("preprocessor") != nil {
		return "preprocessor"
	}
	return p.Entry
}

// external says whether an import path is outside the standard library.
func external(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func goLine(h runtimes.Host) string {
	parts := strings.SplitN(h.Version, ".", 3)
	if len(parts) < 2 {
		return "\ngo 1.22\n"
	}
	return "\ngo " + parts[0] + "." + strings.TrimRight(parts[1], "abcdefghijklmnopqrstuvwxyz-") + "\n"
}

var pin = regexp.MustCompile(`(?m)^//\s*require\s+([^\s"]+)\s+(v[^\s"]+)\s*$`)

func pins(source string) string {
	var b strings.Builder
	for _, m := range pin.FindAllStringSubmatch(source, -1) {
		fmt.Fprintf(&b, "\nrequire %s %s\n", m[1], m[2])
	}
	return b.String()
}

// recipe is a recipe without steps, keyed by what decides its output.
func recipe(h runtimes.Host, kind string, network sandbox.Network, parts ...string) *runtimes.Recipe {
	hash := sha256.New()
	for _, part := range append(parts, h.Tool, h.Version, string(jobSource), string(mainSource)) {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	r := &runtimes.Recipe{
		Key:      "go-" + kind + "-" + hex.EncodeToString(hash.Sum(nil)[:16]),
		Template: sandbox.Template{Name: "build", Network: network, Build: true},
		Caches:   []string{buildCache, moduleCache},
	}
	if h.Root != "" {
		r.Template.Binds = append(r.Template.Binds, sandbox.Bind{Source: h.Root, Target: rootInside})
	}
	return r
}

// tool is the go command as slots see it.
func tool(h runtimes.Host) string {
	if rest, ok := strings.CutPrefix(h.Tool, h.Root+"/"); ok && h.Root != "" {
		return rootInside + "/" + rest
	}
	return h.Tool
}

// files lays the module out in a folder below the work folder: the go command ignores a go.mod that lies in TMPDIR itself.
func files(source, mod, sum string) []sandbox.File {
	list := []sandbox.File{
		{Name: "src/go.mod", Data: []byte(mod)},
		{Name: "src/main.go", Data: mainSource},
		{Name: "src/job/job.go", Data: jobSource},
		{Name: "src/inner/main.go", Data: []byte(source)},
	}
	if sum != "" {
		list = append(list, sandbox.File{Name: "src/go.sum", Data: []byte(sum)})
	}
	return list
}

// step is a process with the environment of the go command.
func step(h runtimes.Host, f []sandbox.File, argv ...string) sandbox.Spec {
	env := []string{
		"PATH=" + filepath.Dir(tool(h)) + ":/usr/local/bin:/usr/bin:/bin", "HOME=/work", "TMPDIR=/work", "LANG=C.UTF-8",
		"GOCACHE=/cache/" + buildCache, "GOMODCACHE=/cache/" + moduleCache, "GOPATH=/work/go", "GOENV=off",
		"CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOWORK=off", "GOTELEMETRY=off",
		"GOFLAGS=-trimpath -mod=mod -modcacherw -buildvcs=false",
	}
	for _, name := range slices.Sorted(maps.Keys(h.Extra)) {
		if name == certificates {
			f = append(f, sandbox.File{Name: "certificates.pem", Data: []byte(h.Extra[name])})
			env = append(env, "SSL_CERT_FILE=/work/certificates.pem")
			continue
		}
		env = append(env, name+"="+h.Extra[name])
	}
	return sandbox.Spec{Argv: argv, Env: env, Files: f, Limits: sandbox.Limits{Memory: 2 << 30, Pids: 512}}
}
