// Package runtimes knows languages: source in; Signature, Recipe, Launch out. It has never heard of a queue, a user or SQL
// tables. Everything a Runtime says is data; only runtimes/build and the engine's pool carry it out, so a language is tested
// without its interpreter installed.
//
// A family member is a folder with the same parts: <lang>.go (Info, Parse, Launch), resolve.go (Resolver, Builder), the
// wrapper that runs inside the slot, testdata, and a test that calls runtimetest.Exercise. It is registered by one line in
// cmd/millrace/families.go.
package runtimes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/millrace/millrace/sandbox"
)

// Info describes a language.
type Info struct {
	Name       string   // Windmill's name: "python3", "bun", "go", "bash"
	Title      string   // "Python"
	Extensions []string // of source files, with the dot, the first is the default
	Tag        string   // default worker tag; usually Name
	Comment    string   // line comment prefix
	Shares     bool     // one process can run many calls: its scripts can be dedicated (Launch.Share)
}

// DedicatedTag is the worker tag of runs of dedicated scripts; "" when the language has none.
func (i Info) DedicatedTag() string {
	if !i.Shares {
		return ""
	}
	return i.Tag + dedicatedSuffix
}

const dedicatedSuffix = "-dedicated"

// IsolatedTag is the worker tag of runs that are not dedicated, of a script whose runs have tag.
func IsolatedTag(tag string) string { return strings.TrimSuffix(tag, dedicatedSuffix) }

// Host says where on this host the tools of a language are, found once at start by Detect. Values are data for Launch.
type Host struct {
	Lib     string // folder of the product's own helpers: zygote module, wrappers (host path)
	Tool    string // the language's main binary on the host ("" when missing)
	Version string // as the tool reports it
	Root    string // folder that must be visible in a slot for Tool to work, "" when under /usr
	// Extra holds further facts a language needs of its own host, by name.
	Extra map[string]string
}

// Missing is returned by Detect when a language cannot run here.
type Missing struct {
	What string // "bun"
	Fix  string // "npm install ..., or set MILLRACE_BUN=/path/to/bun"
}

func (m *Missing) Error() string { return m.What + " is not installed: " + m.Fix }

// Runtime is a language. Parse and Launch are pure: no I/O, no clock.
type Runtime interface {
	Info() Info
	// Detect looks for the tools on this host; lib is the folder of the product's own helpers. The only method with I/O.
	Detect(ctx context.Context, lib string) (Host, error)
	// Parse reads the signature of main. A syntax error that keeps the signature from being read is a *SourceError.
	Parse(source string) (Signature, error)
	// Launch says how to run p. built is the output of Build, empty if there was nothing to build.
	Launch(h Host, p Program, built Artifact) (Launch, error)
}

// Resolver turns the dependencies that a source names into an exact lock. A nil Recipe: nothing to resolve, the lock is "".
// The recipe leaves the lock's text in /out/lock.
type Resolver interface {
	Resolve(h Host, p Program) (*Recipe, error)
}

// Builder turns source and lock into files that Launch needs (installed packages, a compiled binary). A nil Recipe: nothing
// to build.
type Builder interface {
	Build(h Host, p Program) (*Recipe, error)
}

// Explainer turns the output of a failed recipe into what was wrong and what to do, in a line or two; "" when it cannot.
type Explainer interface {
	Explain(output string) string
}

// Warmer has a recipe that fills caches which every build of the language shares, so that the first one is as fast as the rest.
type Warmer interface {
	WarmRecipe(h Host) *Recipe
}

// Imports is what a run that was asked to Learn says of its modules.
type Imports struct {
	// Modules are those that the script, and no other module, made the interpreter import, in that order.
	Modules []string `json:"modules"`
	Millis  float64  `json:"ms"` // how long the imports took
}

// Preloader is a language whose processes are forks of one that is booted already, and that can have modules imported there.
type Preloader interface {
	// Preload makes l start from a process that has imported modules. False: these cannot be.
	Preload(l Launch, modules []string) (Launch, bool)
}

// Binder makes the process of one call, for languages that take arguments by argv instead of by frames.
type Binder interface {
	Bind(l Launch, p Program, c Call) (sandbox.Spec, error)
}

// Program is what is run. It is a value: Key is its content hash.
type Program struct {
	Workspace string
	Language  string
	Path      string // "u/ann/etl", for messages and stack traces
	Source    string
	Lock      string // exact dependencies; "" when none or not resolved yet
	Entry     string // function to call; "" is "main"
	Network   sandbox.Network
}

// Key identifies everything that decides how p is built and launched.
func (p Program) Key() string {
	h := sha256.New()
	for _, s := range []string{p.Workspace, p.Language, p.Path, p.Source, p.Lock, p.Entry, string(p.Network)} {
		fmt.Fprintf(h, "%d:", len(s))
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Call is one run of a program.
type Call struct {
	Args json.RawMessage // a JSON object, by parameter name
	Env  Env             // WM_* variables and the script's own
}

// Artifact is the finished output of a recipe: a read-only folder on the host.
type Artifact struct {
	Dir string
}

// Recipe is an ordered list of processes that fill /out. Same Key, same output; runtimes/build runs it once.
type Recipe struct {
	Key      string           // content address, prefixed by language and kind: "python3-env-<hash>"
	Template sandbox.Template // build adds /out and /cache/<name>
	Caches   []string         // writable folders kept between recipes of one workspace, seen at /cache/<name>
	Steps    []Step
}

// Step is one process of a recipe; the first that fails ends it.
type Step struct {
	Title string // shown in the log: "resolve dependencies"
	Spec  sandbox.Spec
}

// How a finished process gives its result.
const (
	// ResultFrame: the process answers on descriptor 3 with frames (runtimes/frame).
	ResultFrame = "frame"
	// ResultOutput: the collected file if there is one, else the last line of output.
	ResultOutput = "output"
)

// Launch says how a program becomes a process.
type Launch struct {
	Template sandbox.Template
	Spec     sandbox.Spec // without what only the call knows
	// Warm: the process holds nothing of a script; it is started ahead, sends a ready frame, and waits for the request.
	Warm bool
	// Exec is a host path that the caller opens and passes as Spec.Exec.
	Exec string
	// Source is sent in the request (a zygote child or a booted interpreter compiles it).
	Source []byte
	// Entry is sent in the request: the function to call and whatever the language's wrapper needs with it.
	Entry  string
	Result string // ResultFrame or ResultOutput
	// Compiles: the process can say what it compiled of the source, and take that from an earlier run (frame.Compiled).
	Compiles bool
	// Share: one process can run many calls of the script, one after the other (frame.Share).
	Share bool
}

// SourceError is a mistake in the user's source.
type SourceError struct {
	Name    string // "SyntaxError"
	Message string
	Line    int // from 1; 0 when unknown
}

func (e *SourceError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: %s (line %d)", e.Name, e.Message, e.Line)
	}
	return e.Name + ": " + e.Message
}

// Failure is the error of a run as a job reports it.
type Failure struct {
	Name    string          `json:"name"`
	Message string          `json:"message"`
	Stack   string          `json:"stack,omitempty"`
	Extra   json.RawMessage `json:"extra,omitempty"`
}

func (f *Failure) Error() string { return f.Name + ": " + f.Message }
