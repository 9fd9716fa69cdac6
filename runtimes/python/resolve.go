package python

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// errNoUV says what is missing for scripts that use packages. Those that do not run without it.
var errNoUV = &runtimes.Missing{What: "uv", Fix: "pip install uv, or set MILLRACE_UV=/path/to/uv"}

// Resolve makes uv find exact versions, with hashes, of what the script asks for. The lock begins with the version of Python
// that it is for and is otherwise a requirements.txt.
func (*Python) Resolve(h runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	if err := checkVersion(h, p.Source); err != nil {
		return nil, err
	}
	wanted, err := needs(p.Source)
	if err != nil || len(wanted) == 0 {
		return nil, err
	}
	var list strings.Builder
	for _, n := range wanted {
		if strings.HasPrefix(n.spec, "-") {
			return nil, &runtimes.SourceError{Name: "RequirementError", Line: n.line,
				Message: fmt.Sprintf("%q is an option of pip, not a package", n.spec)}
		}
		fmt.Fprintf(&list, "%s  # line %d: %s\n", n.spec, n.line, n.why)
	}
	t, uv, err := buildTemplate(h, p)
	if err != nil {
		return nil, err
	}
	// The list goes to the log first: it is what the user asked for, and Explain finds the lines in it.
	const script = `out=$1 head=$2; shift 2; cat requirements.in
"$@" --output-file resolved.txt && { echo "$head"; cat resolved.txt; } >"$out/lock"`
	minor := strings.Join(strings.SplitN(h.Version, ".", 3)[:min(2, strings.Count(h.Version, ".")+1)], ".")
	spec := buildSpec(h, []string{"/bin/sh", "-c", script, "sh", "/out", "# py: " + minor,
		uv, "pip", "compile", "requirements.in", "--python", h.Tool, "--generate-hashes", "--no-header", "--no-annotate",
		"--quiet"})
	spec.Files = []sandbox.File{{Name: "requirements.in", Data: []byte(list.String())}}
	return &runtimes.Recipe{
		Key: key("python3-lock", p.Workspace, list.String(), h.Version), Template: t, Caches: []string{"uv"},
		Steps: []runtimes.Step{{Title: "resolve dependencies", Spec: spec}},
	}, nil
}

// Build installs a lock into a folder, bytecode included, so that imports from the read-only copy are fast.
func (*Python) Build(h runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	if !hasPackages(p.Lock) {
		return nil, nil
	}
	t, uv, err := buildTemplate(h, p)
	if err != nil {
		return nil, err
	}
	spec := buildSpec(h, []string{uv, "pip", "install", "--python", h.Tool, "--target", "/out", "--link-mode", "copy", "--no-deps",
		"--compile-bytecode", "--requirements", "requirements.txt"})
	spec.Files = []sandbox.File{{Name: "requirements.txt", Data: []byte(p.Lock)}}
	return &runtimes.Recipe{
		Key: key("python3-env", p.Workspace, p.Lock, h.Version), Template: t, Caches: []string{"uv"},
		Steps: []runtimes.Step{{Title: "install dependencies", Spec: spec}},
	}, nil
}

// hasPackages says whether a lock names anything to install.
func hasPackages(lock string) bool {
	for line := range strings.Lines(lock) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return true
		}
	}
	return false
}

func buildTemplate(h runtimes.Host, p runtimes.Program) (sandbox.Template, string, error) {
	if h.Extra[extraUV] == "" {
		return sandbox.Template{}, "", errNoUV
	}
	uv, binds := h.Place("uv", h.Extra[extraUV])
	binds = append(append([]sandbox.Bind{h.LibBind()}, rootBind(h)...), binds...)
	return sandbox.Template{Name: "python3-build", Network: sandbox.NetworkHost, Binds: binds, Build: true, Tenant: p.Workspace}, uv, nil
}

func buildSpec(h runtimes.Host, argv []string) sandbox.Spec {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/work", "TMPDIR=/work", "LANG=C.UTF-8", "NO_COLOR=1",
		"UV_CACHE_DIR=/cache/uv", "UV_PYTHON_DOWNLOADS=never", "UV_NO_CONFIG=1", "UV_NO_PROGRESS=1", "UV_LINK_MODE=copy"}
	for k, v := range h.Extra {
		if name, ok := strings.CutPrefix(k, extraEnv); ok {
			env = append(env, name+"="+v)
		}
	}
	sort.Strings(env)
	return sandbox.Spec{Argv: argv, Env: env, Limits: sandbox.Limits{
		Memory: 4 << 30, Pids: 1024, WorkSize: 4 << 30, OpenFiles: 4096, Wall: 15 * time.Minute,
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
	notFound  = regexp.MustCompile(`(?s)([A-Za-z0-9][\w.-]*)\s+was\s+not\s+found\s+in\s+the\s+package\s+registry`)
	noVersion = regexp.MustCompile(`(?s)there\s+(?:is|are)\s+no\s+versions?\s+of\s+([A-Za-z0-9][^\s,]*)`)
	badSpec   = regexp.MustCompile("(?s)[Cc]ouldn't parse requirement in `[^`]*` at position \\d+\\s+(?:cause:|Caused by:)?\\s*([^\n]+)")
	failed    = regexp.MustCompile("(?s)[Ff]ailed to (?:build|download and build|fetch|download):? `([^`]+)`")
	asked     = regexp.MustCompile(`(?m)^(\S+.*?)  # (line \d+: .*)$`)
)

// Explain reads the output of uv.
func (*Python) Explain(output string) string {
	clean := strings.NewReplacer("╰─▶", " ", "├─▶", " ", "│", " ", "×", " ").Replace(output)
	switch {
	case notFound.MatchString(clean):
		name := notFound.FindStringSubmatch(clean)[1]
		return "package " + name + " does not exist on the index" + askedBy(output, name) +
			"; if the import's name is not the package's, say \"# pin: PACKAGE\" on its line"
	case noVersion.MatchString(clean):
		spec := noVersion.FindStringSubmatch(clean)[1]
		return "package " + bareName(spec) + " has no version that fits " + spec + askedBy(output, bareName(spec))
	case badSpec.MatchString(clean):
		return "a requirement cannot be read: " + strings.TrimSpace(badSpec.FindStringSubmatch(clean)[1])
	case strings.Contains(clean, "No solution found"):
		_, why, _ := strings.Cut(clean, "No solution found when resolving dependencies")
		why = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(why, ":")), "cause:"))
		return "the requirements contradict each other: " + strings.Join(strings.Fields(why), " ")
	case failed.MatchString(clean) && !unreachable(clean):
		name := failed.FindStringSubmatch(clean)[1]
		return "package " + name + " cannot be built on this host" + askedBy(output, bareName(name)) + "; the log says why"
	case unreachable(clean):
		return "the package index cannot be reached; check the network and the settings UV_DEFAULT_INDEX and HTTPS_PROXY of the daemon"
	}
	return ""
}

func unreachable(output string) bool {
	for _, sign := range []string{"dns error", "error sending request", "Connection refused", "tcp connect error", "Failed to fetch: `http", "timed out"} {
		if strings.Contains(output, sign) {
			return true
		}
	}
	return false
}

// askedBy finds the line of the script that asked for a package, among what Resolve has put into the log.
func askedBy(output, name string) string {
	for _, m := range asked.FindAllStringSubmatch(output, -1) {
		if bareName(m[1]) == bareName(name) {
			return " (" + m[2] + ")"
		}
	}
	return ""
}
