package bun

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// separator stands between package.json and bun.lock in a lock, as in Windmill's.
const separator = "//bun.lock"

// Resolve makes Bun find exact versions of what the script imports.
func (*Bun) Resolve(h runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	wanted := needs(p.Source)
	if len(wanted) == 0 {
		return nil, nil
	}
	dependencies := map[string]string{}
	var list strings.Builder
	for _, n := range wanted {
		version := n.version
		if version == "" {
			version = "latest"
		}
		dependencies[n.name] = version
		fmt.Fprintf(&list, "%s@%s  // line %d: %s\n", n.name, version, n.line, n.why)
	}
	manifest, err := manifestOf(dependencies)
	if err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	// The list goes to the log first: it is what the user asked for, and Explain finds the lines in it.
	const script = `out=$1; shift; cat imports.txt
"$@" && { cat package.json; echo "` + separator + `"; cat bun.lock; } >"$out/lock"`
	tool, t := buildTemplate(h, p)
	spec := buildSpec(h, []string{"/bin/sh", "-c", script, "sh", "/out", tool, "install", "--lockfile-only", "--no-progress"})
	spec.Files = []sandbox.File{{Name: "imports.txt", Data: []byte(list.String())}, {Name: "package.json", Data: manifest}}
	return &runtimes.Recipe{
		Key: key("bun-lock", p.Workspace, string(manifest), list.String(), h.Version), Template: t, Caches: []string{"bun"},
		Steps: []runtimes.Step{{Title: "resolve dependencies", Spec: spec}},
	}, nil
}

func manifestOf(dependencies map[string]string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // versions have ">"
	e.SetIndent("", "  ")
	err := e.Encode(map[string]any{"dependencies": dependencies})
	return b.Bytes(), err
}

// Build installs a lock into /out/node_modules.
func (*Bun) Build(h runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	if strings.TrimSpace(p.Lock) == "" {
		return nil, nil
	}
	manifest, lock, err := splitLock(p.Lock)
	if err != nil || manifest == "" {
		return nil, err
	}
	tool, t := buildTemplate(h, p)
	argv := []string{"/bin/sh", "-c", `out=$1; shift; cp ./package.json "$out/" && { [ ! -e bun.lock ] || cp bun.lock "$out/"; } && cd "$out" && exec "$@"`,
		"sh", "/out", tool, "install", "--no-progress", "--no-summary", "--backend=copyfile"}
	files := []sandbox.File{{Name: "package.json", Data: []byte(manifest)}}
	if lock != "" {
		argv = append(argv, "--frozen-lockfile")
		files = append(files, sandbox.File{Name: "bun.lock", Data: []byte(lock)})
	}
	spec := buildSpec(h, argv)
	spec.Files = files
	return &runtimes.Recipe{
		Key: key("bun-env", p.Workspace, p.Lock, h.Version), Template: t, Caches: []string{"bun"},
		Steps: []runtimes.Step{{Title: "install dependencies", Spec: spec}},
	}, nil
}

// splitLock returns package.json, "" if it names no packages, and bun.lock, "" if there is none.
func splitLock(lock string) (manifest, bunLock string, err error) {
	manifest, bunLock, _ = strings.Cut(lock, "\n"+separator+"\n")
	if bunLock = strings.TrimSpace(bunLock); bunLock == "<empty>" {
		bunLock = ""
	}
	var m struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := json.Unmarshal([]byte(manifest), &m); err != nil {
		return "", "", &runtimes.SourceError{Name: "LockError",
			Message: "the lock is not a package.json, a line " + separator + ", and a bun.lock: deploy the script again to make one"}
	}
	if len(m.Dependencies) == 0 {
		return "", "", nil
	}
	return manifest, bunLock, nil
}

func buildTemplate(h runtimes.Host, p runtimes.Program) (string, sandbox.Template) {
	tool, binds := h.Place("bun", h.Tool)
	return tool, sandbox.Template{Name: "bun-build", Network: sandbox.NetworkHost, Build: true, Tenant: p.Workspace,
		Binds: append([]sandbox.Bind{h.LibBind()}, binds...)}
}

func buildSpec(h runtimes.Host, argv []string) sandbox.Spec {
	env := append([]string{"BUN_INSTALL_CACHE_DIR=/cache/bun", "NO_COLOR=1", "CI=1"}, baseEnv...)
	for k, v := range h.Extra {
		if name, ok := strings.CutPrefix(k, extraEnv); ok {
			env = append(env, name+"="+v)
		}
	}
	sort.Strings(env)
	return sandbox.Spec{Argv: argv, Env: env, Limits: sandbox.Limits{
		Memory: 4 << 30, Pids: 1024, WorkSize: 4 << 30, OpenFiles: 8192, Wall: 15 * time.Minute,
	}}
}

// key is the content address of a recipe. The workspace is part of it: an installed package may have been built by code that the
// workspace chose, with a cache that only the workspace trusts.
func key(prefix string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return prefix + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}

var (
	notFound  = regexp.MustCompile(`GET \S*?/((?:@|%40)?[\w.-]+(?:(?:/|%2[fF])[\w.-]+)?) - 40[134]`)
	noVersion = regexp.MustCompile(`No version matching "([^"]*)" found for specifier "([^"]*)"`)
	noTag     = regexp.MustCompile(`Package "([^"]+)" with tag "([^"]+)" not found`)
	unsolved  = regexp.MustCompile(`error: (\S+)@(\S+) failed to resolve`)
	asked     = regexp.MustCompile(`(?m)^(\S+)@\S+  // (line \d+: .*)$`)
)

// Explain reads the output of bun install.
func (*Bun) Explain(output string) string {
	if m := noVersion.FindStringSubmatch(output); m != nil {
		return fmt.Sprintf("package %s has no version %s%s", m[2], m[1], askedBy(output, m[2]))
	}
	if m := noTag.FindStringSubmatch(output); m != nil {
		return fmt.Sprintf("package %s has no version %s%s", m[1], m[2], askedBy(output, m[1]))
	}
	if m := notFound.FindStringSubmatch(output); m != nil {
		name := strings.NewReplacer("%2f", "/", "%2F", "/", "%40", "@").Replace(m[1])
		if u := unsolved.FindStringSubmatch(output); u != nil && strings.HasSuffix(name, u[1]) {
			name = u[1]
		}
		return "package " + name + " does not exist in the registry" + askedBy(output, name)
	}
	for _, sign := range []string{"ConnectionRefused", "FailedToOpenSocket", "DNSResolveFailed", "ConnectionClosed", "Timeout", "CERT"} {
		if strings.Contains(output, sign) {
			return "the package registry cannot be reached; check the network and the settings NPM_CONFIG_REGISTRY and HTTPS_PROXY of the daemon"
		}
	}
	if m := unsolved.FindStringSubmatch(output); m != nil {
		return "package " + m[1] + " cannot be resolved" + askedBy(output, m[1])
	}
	if strings.Contains(output, "lockfile had changes, but lockfile is frozen") {
		return "the lock does not fit its own package.json: deploy the script again to make a new one"
	}
	return ""
}

// askedBy finds the line of the script that asked for a package, among what Resolve has put into the log.
func askedBy(output, name string) string {
	for _, m := range asked.FindAllStringSubmatch(output, -1) {
		if m[1] == name {
			return " (" + m[2] + ")"
		}
	}
	return ""
}
