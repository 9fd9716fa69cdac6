// Package python runs Python scripts: a booted, warmed interpreter (the zygote) forks one process per job, which compiles
// the script, calls main with the arguments by name, and answers by frames.
//
//	parse.go types.go scope.go doc.go   signature of main, from the text alone
//	need.go resolve.go                  what a script imports -> packages -> a lock -> an installed folder, by uv
//	lib/python                          what runs inside the slot: Assets must lie in Host.Lib
//
// Results, arguments and annotations follow Windmill's conventions; main may be async, and a generator streams.
package python

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

//go:embed lib
var assets embed.FS

// Assets are the files that must lie in Host.Lib, by their paths there. The extension python/_millrace_forker.abi3.so, which
// is compiled, comes from sandbox/forker and lies beside them.
func Assets() fs.FS {
	sub, err := fs.Sub(assets, "lib")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

// Python is the language. It has no state.
type Python struct{}

// New returns the language.
func New() *Python { return &Python{} }

// Info describes the language.
func (*Python) Info() runtimes.Info {
	return runtimes.Info{Name: "python3", Title: "Python", Extensions: []string{".py"}, Tag: "python3", Comment: "#", Shares: true}
}

// Names of the facts in Host.Extra.
const (
	extraUV  = "uv"   // path of uv; missing: scripts cannot use packages
	extraEnv = "env:" // prefix: environment of build steps, for reaching the package index
)

// Detect looks for CPython 3.8 or later and for uv.
func (*Python) Detect(ctx context.Context, lib string) (runtimes.Host, error) {
	const fix = "install python3 (apt install python3), or set MILLRACE_PYTHON=/path/to/python3"
	tool := runtimes.FindTool("MILLRACE_PYTHON", lib, "python3", "/usr/bin/python3", "/usr/local/bin/python3")
	if tool == "" {
		return runtimes.Host{}, &runtimes.Missing{What: "python3", Fix: fix}
	}
	const ask = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.base_prefix)"
	out, err := exec.CommandContext(ctx, tool, "-I", "-S", "-c", ask).Output()
	if err != nil {
		return runtimes.Host{}, fmt.Errorf("ask %s for its version: %w", tool, err)
	}
	version, prefix, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if v := parseVersion(version); compareVersions(v, []int{3, 8}) < 0 {
		return runtimes.Host{}, &runtimes.Missing{What: "Python 3.8 or later (" + tool + " is " + version + ")", Fix: fix}
	}
	h := runtimes.Host{Lib: lib, Tool: tool, Version: version, Extra: indexEnv(os.Getenv)}
	if prefix != "/usr" && !strings.HasPrefix(prefix, "/usr/") {
		h.Root = prefix
	}
	if uv := runtimes.FindTool("MILLRACE_UV", lib, "uv"); uv != "" {
		h.Extra[extraUV] = uv
	}
	return h, nil
}

// indexEnv is the part of the daemon's environment that says how package indexes are reached. It may hold credentials: it is
// given to build steps as environment only.
func indexEnv(getenv func(string) string) map[string]string {
	extra := map[string]string{}
	pass := func(from, to string) {
		if v := getenv(from); v != "" && extra[extraEnv+to] == "" {
			extra[extraEnv+to] = v
		}
	}
	for _, v := range []string{"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
		"UV_INDEX_STRATEGY", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "UV_HTTP_TIMEOUT", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
		"SSL_CERT_FILE"} {
		pass(v, v)
	}
	if extra[extraEnv+"UV_DEFAULT_INDEX"] == "" {
		pass("PIP_INDEX_URL", "UV_INDEX_URL")
	}
	pass("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL")
	pass("PIP_TRUSTED_HOST", "UV_INSECURE_HOST")
	const roots = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(roots); err == nil && extra[extraEnv+"SSL_CERT_FILE"] == "" {
		extra[extraEnv+"SSL_CERT_FILE"] = roots // what the host trusts, an on-premises index for one, uv trusts too
	}
	return extra
}

// calls are those that numeric libraries use beyond what every slot allows: OpenBLAS, which numpy brings, and PyTorch say where
// their memory shall lie.
var calls = []string{"get_mempolicy", "mbind", "set_mempolicy"}

// depsTarget is where slots see the installed packages.
const depsTarget = "/deps"

// Launch runs p as a fork of the zygote of its workspace and its packages.
func (*Python) Launch(h runtimes.Host, p runtimes.Program, built runtimes.Artifact) (runtimes.Launch, error) {
	if h.Tool == "" {
		return runtimes.Launch{}, errors.New("launch: no Python on this host")
	}
	if err := checkVersion(h, p.Source); err != nil {
		return runtimes.Launch{}, err
	}
	t := sandbox.Template{
		Name: "python3", Network: p.Network, Tenant: p.Workspace,
		Binds:     append([]sandbox.Bind{h.LibBind()}, rootBind(h)...),
		Calls:     calls,
		ZygoteEnv: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/work", "TMPDIR=/work", "LANG=C.UTF-8"},
	}
	t.Zygote = []string{h.Tool, "-I", "-S", "-B", runtimes.LibTarget + "/python/zygote.py"}
	if built.Dir != "" {
		t.Binds = append(t.Binds, sandbox.Bind{Source: built.Dir, Target: depsTarget})
		t.Zygote = append(t.Zygote, "--deps", depsTarget)
	}
	entry := p.Entry
	if entry == "" {
		entry = "main"
	}
	return runtimes.Launch{Template: t, Source: []byte(p.Source), Entry: entry, Result: runtimes.ResultFrame, Compiles: true, Share: true}, nil
}

var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// The most modules that are imported ahead, and the most that their names may take together.
const (
	maxPreload     = 64
	maxPreloadText = 4 << 10
)

// Preload makes the zygote import modules before it forks.
func (*Python) Preload(l runtimes.Launch, modules []string) (runtimes.Launch, bool) {
	list := strings.Join(modules, ",")
	if len(l.Template.Zygote) == 0 || len(modules) == 0 || len(modules) > maxPreload || len(list) > maxPreloadText {
		return l, false
	}
	for _, m := range modules {
		if !moduleName.MatchString(m) {
			return l, false
		}
	}
	l.Template.Zygote = append(slices.Clone(l.Template.Zygote), "--preload", list)
	return l, true
}

func rootBind(h runtimes.Host) []sandbox.Bind {
	if h.Root == "" {
		return nil
	}
	return []sandbox.Bind{{Source: h.Root, Target: h.Root}}
}
