// Package mock is a language whose programs say what they do, and an Isolator that runs them in goroutines: the engine is
// tested, and its own cost measured, with no process at all. Both keep the contracts of their families.
//
// A source is a list of commands, separated by semicolons or line ends:
//
//	param n integer = 3      declare a parameter of main (type and default may be left out)
//	require NAME             depend on a package; "missing" cannot be resolved
//	sleep 5ms                wait
//	log TEXT                 write a line of output
//	spam N                   write N bytes of output
//	stream TEXT              send a chunk of the result stream
//	return JSON              the result
//	args                     return the arguments
//	arg NAME                 return one of them
//	do NAME                  run the commands in the argument of this name
//	env NAME                 return an environment variable
//	runs                     return how many runs this process has begun
//	leave                    begin no further run in this process
//	slot                     return the tenant and the zygote's arguments of its slot
//	forge N                  answer for run N
//	import NAME              say that this module was imported; 100 ms each
//	fail NAME MESSAGE        fail, message quoted or not
//	exit N                   end with a status and no result
//	oom                      die as for want of memory
//	hang                     wait to be killed
//	break                    break the slot
//	library                  there is no main
package mock

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// Runtime is the language "mock".
type Runtime struct {
	// Warm makes its processes boot ahead of their call.
	Warm bool
}

var (
	_ runtimes.Runtime   = (*Runtime)(nil)
	_ runtimes.Resolver  = (*Runtime)(nil)
	_ runtimes.Builder   = (*Runtime)(nil)
	_ runtimes.Explainer = (*Runtime)(nil)
	_ runtimes.Preloader = (*Runtime)(nil)
)

// New returns the language.
func New() *Runtime { return &Runtime{} }

// Info describes the language.
func (*Runtime) Info() runtimes.Info {
	return runtimes.Info{Name: "mock", Title: "Mock", Extensions: []string{".mock"}, Tag: "mock", Comment: "#", Shares: true}
}

// Detect finds the language everywhere.
func (*Runtime) Detect(context.Context, string) (runtimes.Host, error) {
	return runtimes.Host{Tool: "mock", Version: "1"}, nil
}

// Parse reads the param commands. Commands that do not exist are a *runtimes.SourceError.
func (*Runtime) Parse(source string) (runtimes.Signature, error) {
	s := runtimes.Signature{HasMain: true}
	for _, c := range commands(source) {
		if err := c.check(); err != nil {
			return s, err
		}
		switch c.verb {
		case "library":
			s.HasMain = false
		case "param":
			p, err := c.param()
			if err != nil {
				return s, err
			}
			s.Params = append(s.Params, p)
		}
	}
	return s, nil
}

// Resolve pins each required package at version 1.
func (*Runtime) Resolve(_ runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	names := required(p.Source)
	if len(names) == 0 {
		return nil, nil
	}
	return recipe("lock", "resolve dependencies", append([]string{resolveProgram}, names...)), nil
}

// Build installs what the lock names.
func (*Runtime) Build(_ runtimes.Host, p runtimes.Program) (*runtimes.Recipe, error) {
	if p.Lock == "" {
		return nil, nil
	}
	return recipe("env", "install dependencies", []string{installProgram, p.Lock}), nil
}

func recipe(kind, title string, argv []string) *runtimes.Recipe {
	return &runtimes.Recipe{
		Key:      "mock-" + kind + "-" + runtimes.Program{Source: strings.Join(argv, "\x00")}.Key(),
		Template: sandbox.Template{Name: "mock-build", Network: sandbox.NetworkNone, Build: true},
		Steps:    []runtimes.Step{{Title: title, Spec: sandbox.Spec{Argv: argv}}},
	}
}

// Explain finds the name of a package that does not exist.
func (*Runtime) Explain(output string) string {
	if _, name, ok := strings.Cut(output, "no such package: "); ok {
		name, _, _ = strings.Cut(name, "\n")
		return fmt.Sprintf("package %q does not exist", name)
	}
	return ""
}

// Launch needs an Isolator of this package.
func (r *Runtime) Launch(_ runtimes.Host, p runtimes.Program, _ runtimes.Artifact) (runtimes.Launch, error) {
	l := runtimes.Launch{
		Template: sandbox.Template{Name: "mock", Network: p.Network},
		Spec:     sandbox.Spec{Argv: []string{jobProgram}},
		Source:   []byte(p.Source),
		Entry:    p.Entry,
		Warm:     r.Warm,
		Result:   runtimes.ResultFrame,
		Share:    true,
	}
	if r.Warm {
		l.Spec.Argv = append(l.Spec.Argv, "--warm")
	}
	return l, nil
}

// command is one line of a program.
type command struct {
	verb, rest string
	line       int
}

func commands(source string) []command {
	var out []command
	for i, line := range strings.Split(source, "\n") {
		for _, text := range strings.Split(line, ";") {
			text = strings.TrimSpace(text)
			if text == "" || text[0] == '#' {
				continue
			}
			verb, rest, _ := strings.Cut(text, " ")
			out = append(out, command{verb: verb, rest: strings.TrimSpace(rest), line: i + 1})
		}
	}
	return out
}

func (c command) check() error {
	switch c.verb {
	case "log", "stream", "args", "arg", "env", "hang", "oom", "break", "library", "param", "require", "fail",
		"runs", "leave", "import", "do", "forge", "slot":
		return nil
	case "sleep":
		if _, err := time.ParseDuration(c.rest); err != nil {
			return c.wrong("want a duration such as 5ms")
		}
	case "spam", "exit":
		if n, err := strconv.Atoi(c.rest); err != nil || n < 0 {
			return c.wrong("want a number")
		}
	case "return":
		// What is returned is checked where results are: a mock can return nonsense.
	default:
		return c.wrong("no such command")
	}
	return nil
}

func (c command) wrong(what string) error {
	return &runtimes.SourceError{Name: "SyntaxError", Message: c.verb + ": " + what, Line: c.line}
}

// param reads "n integer = 3".
func (c command) param() (runtimes.Param, error) {
	decl, value, hasDefault := strings.Cut(c.rest, "=")
	words := strings.Fields(decl)
	if len(words) == 0 || len(words) > 2 {
		return runtimes.Param{}, c.wrong("want a name, perhaps a type, perhaps a default")
	}
	p := runtimes.Param{Name: words[0], Required: !hasDefault}
	if len(words) == 2 {
		p.Schema.Type = words[1]
	}
	if hasDefault {
		p.Default = json.RawMessage(strings.TrimSpace(value))
		if !json.Valid(p.Default) {
			return p, c.wrong("the default is not JSON")
		}
	}
	return p, nil
}

func required(source string) []string {
	var names []string
	for _, c := range commands(source) {
		if c.verb == "require" {
			names = append(names, c.rest)
		}
	}
	return names
}

// imported is what a run says of its modules.
func imported(source string) string {
	said := runtimes.Imports{Modules: []string{}}
	for _, c := range commands(source) {
		if c.verb == "import" {
			said.Modules, said.Millis = append(said.Modules, c.rest), said.Millis+100
		}
	}
	b, _ := json.Marshal(said) // strings and a number always encode
	return string(b)
}

// Preload marks a slot with the names of what its processes would have imported.
func (*Runtime) Preload(l runtimes.Launch, modules []string) (runtimes.Launch, bool) {
	for _, m := range modules {
		if m == "never" {
			return l, false
		}
	}
	l.Template.Zygote = []string{"/mock", strings.Join(modules, ",")}
	return l, true
}
