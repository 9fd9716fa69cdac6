// Package bun runs TypeScript and JavaScript with Bun: a process that has booted (lib/bun/boot.js) but holds nothing of any
// script is started ahead, waits for one request, imports the script, calls its exported main, answers by frames and ends.
//
//	parse.go function.go types.go scope.go schema.go   signature of main, from the text alone
//	imports.go resolve.go                              what a script imports -> packages -> a lock -> node_modules
//	lib/bun                                            what runs inside the slot: Assets must lie in Host.Lib
//
// JavaScript passes arguments by place and a request has them by name, so Launch.Entry is "main\n" and a JSON array of the
// parameters, each [name, required, kind]; kind says what the wrapper makes of the JSON value ("date", "bigint", "bytes", "").
package bun

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

//go:embed lib
var assets embed.FS

// Assets are the files that must lie in Host.Lib, by their paths there.
func Assets() fs.FS {
	sub, err := fs.Sub(assets, "lib")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

// Bun is the language. It has no state.
type Bun struct{}

// New returns the language.
func New() *Bun { return &Bun{} }

// Info describes the language.
func (*Bun) Info() runtimes.Info {
	return runtimes.Info{Name: "bun", Title: "TypeScript", Extensions: []string{".ts", ".js", ".mjs"}, Tag: "bun", Comment: "//", Shares: true}
}

// extraEnv is the prefix of facts in Host.Extra that are environment of build steps, for reaching the registry.
const extraEnv = "env:"

// Detect looks for Bun.
func (*Bun) Detect(ctx context.Context, lib string) (runtimes.Host, error) {
	tool := runtimes.FindTool("MILLRACE_BUN", lib, "bun", "/usr/local/bin/bun", "/usr/bin/bun")
	if tool == "" {
		return runtimes.Host{}, &runtimes.Missing{What: "bun", Fix: "npm install --prefix DIR bun, or set MILLRACE_BUN=/path/to/bun"}
	}
	out, err := exec.CommandContext(ctx, tool, "--version").Output()
	if err != nil {
		return runtimes.Host{}, fmt.Errorf("ask %s for its version: %w", tool, err)
	}
	return runtimes.Host{Lib: lib, Tool: tool, Version: strings.TrimSpace(string(out)), Extra: registryEnv(os.Getenv)}, nil
}

// registryEnv is the part of the daemon's environment that says how package registries are reached. It may hold credentials:
// it is given to build steps as environment only.
func registryEnv(getenv func(string) string) map[string]string {
	extra := map[string]string{}
	for _, v := range []string{"BUN_CONFIG_REGISTRY", "BUN_CONFIG_TOKEN", "NPM_CONFIG_REGISTRY", "npm_config_registry", "NPM_CONFIG_TOKEN",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "NODE_EXTRA_CA_CERTS"} {
		if s := getenv(v); s != "" {
			extra[extraEnv+v] = s
		}
	}
	const roots = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(roots); err == nil && extra[extraEnv+"NODE_EXTRA_CA_CERTS"] == "" {
		extra[extraEnv+"NODE_EXTRA_CA_CERTS"] = roots // what the host trusts, an on-premises registry for one, Bun trusts too
	}
	return extra
}

// depsTarget is where slots see the installed packages.
const depsTarget = "/deps"

var baseEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/work", "TMPDIR=/work", "LANG=C.UTF-8", "DO_NOT_TRACK=1"}

// Launch runs p in a process that was booted without knowing it.
func (*Bun) Launch(h runtimes.Host, p runtimes.Program, built runtimes.Artifact) (runtimes.Launch, error) {
	if h.Tool == "" {
		return runtimes.Launch{}, errors.New("launch: no Bun on this host")
	}
	tool, binds := h.Place("bun", h.Tool)
	// A cache would be used by nobody. Threads that transpile cost a boot a tenth and a run two switches, and save no time even where
	// hundreds of modules are imported.
	env := append([]string{"BUN_RUNTIME_TRANSPILER_CACHE_PATH=0", "BUN_FEATURE_FLAG_DISABLE_ASYNC_TRANSPILER=1"}, baseEnv...)
	binds = append([]sandbox.Bind{h.LibBind()}, binds...)
	if built.Dir != "" {
		binds = append(binds, sandbox.Bind{Source: built.Dir, Target: depsTarget})
		env = append(env, "NODE_PATH="+depsTarget+"/node_modules")
	}
	entry := p.Entry
	if entry == "" {
		entry = "main"
	}
	return runtimes.Launch{
		Template: sandbox.Template{Name: "bun", Network: p.Network, Tenant: p.Workspace, Binds: binds},
		// Without --no-install Bun fetches what it does not find, past every lock.
		Spec:   sandbox.Spec{Argv: []string{tool, "--no-install", runtimes.LibTarget + "/bun/boot.js"}, Env: env},
		Warm:   true,
		Source: []byte(unpinned(p.Source)),
		Entry:  entry + order(p.Source, entry),
		Result: runtimes.ResultFrame,
		Share:  true,
	}, nil
}
