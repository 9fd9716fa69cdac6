// Package bash runs shell scripts. Their parameters are the positional ones they give names to, and their result is result.json,
// else result.out (as a string), else the last line of output (as a string).
package bash

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
)

// prelude is read by the shell before the script.
//
//go:embed prelude.sh
var prelude []byte

// Names of files in the work folder.
const (
	scriptFile  = "main.sh"
	preludeFile = ".prelude.sh"
	resultFile  = "result.json"
)

// maxArgument is what the kernel takes as one argument, its final NUL included (MAX_ARG_STRLEN).
const maxArgument = 128 << 10

// Runtime is the language "bash".
type Runtime struct{}

var (
	_ runtimes.Runtime = Runtime{}
	_ runtimes.Binder  = Runtime{}
)

// New returns the language.
func New() Runtime { return Runtime{} }

// Info describes the language.
func (Runtime) Info() runtimes.Info {
	return runtimes.Info{Name: "bash", Title: "Bash", Extensions: []string{".sh"}, Tag: "bash", Comment: "#"}
}

// Detect looks where slots have their base system, not in PATH.
func (Runtime) Detect(ctx context.Context, lib string) (runtimes.Host, error) {
	for _, tool := range []string{"/bin/bash", "/usr/bin/bash"} {
		if _, err := os.Stat(tool); err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, tool, "-c", `printf %s "$BASH_VERSION"`).Output()
		if err != nil {
			return runtimes.Host{}, fmt.Errorf("bash: ask %s for its version: %w", tool, err)
		}
		return runtimes.Host{Lib: lib, Tool: tool, Version: string(out)}, nil
	}
	return runtimes.Host{}, &runtimes.Missing{What: "bash", Fix: "install the package bash"}
}

// Parse reads the positional parameters that the script names.
func (Runtime) Parse(source string) (runtimes.Signature, error) {
	s := runtimes.Signature{HasMain: true, Doc: leadingComment(source)}
	for _, p := range positionals(source) {
		s.Params = append(s.Params, p.Param)
	}
	return s, nil
}

// Launch gives the shell the script as a file; Bind adds the arguments to another that it reads first: the arguments of a process
// are for everybody on the host to see, and a job's may be secrets.
func (Runtime) Launch(h runtimes.Host, p runtimes.Program, _ runtimes.Artifact) (runtimes.Launch, error) {
	return runtimes.Launch{
		Template: sandbox.Template{Name: "exec", Network: p.Network},
		Spec: sandbox.Spec{
			Argv: []string{h.Tool, scriptFile},
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/work", "TMPDIR=/work",
				"LANG=C.UTF-8", "BASH_ENV=" + preludeFile},
			Files:   []sandbox.File{{Name: scriptFile, Data: []byte(p.Source)}, {Name: preludeFile, Data: prelude}},
			Init:    true,
			Collect: resultFile,
		},
		Result: runtimes.ResultOutput,
	}, nil
}

// Bind passes strings as they are, other values as JSON, null and what is not given as the empty string.
func (Runtime) Bind(l runtimes.Launch, p runtimes.Program, c runtimes.Call) (sandbox.Spec, error) {
	spec := l.Spec
	var args map[string]json.RawMessage
	if len(c.Args) > 0 {
		if err := json.Unmarshal(c.Args, &args); err != nil {
			return spec, argumentError("the arguments are not a JSON object")
		}
	}
	set := slices.Clone(prelude)
	set = append(set, "set --"...)
	at := 1
	for _, param := range positionals(p.Source) {
		for ; at < param.position; at++ {
			set = append(set, " ''"...) // a position the script has no name for
		}
		raw, given := args[param.Name]
		if !given && param.Required {
			return spec, argumentError("%s: missing, want string", param.Name)
		}
		text, err := argument(raw)
		if err != nil {
			return spec, argumentError("%s: %v", param.Name, err)
		}
		set = append(set, " "+quote(text)...)
		at++
	}
	set = append(set, '\n')
	spec.Files = slices.Clone(spec.Files)
	for i, f := range spec.Files {
		if f.Name == preludeFile {
			spec.Files[i].Data = set
		}
	}
	spec.Env = slices.Clone(spec.Env)
	for _, v := range c.Env {
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") || strings.Contains(v.Value, "\x00") {
			return spec, argumentError("the environment variable %q cannot be passed to a process", v.Name)
		}
		spec.Env = append(spec.Env, v.Name+"="+v.Value)
	}
	return spec, nil
}

// quote makes one word of the shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func argument(raw json.RawMessage) (string, error) {
	text := string(raw)
	switch {
	case text == "null":
		text = ""
	case text != "" && text[0] == '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", err
		}
	}
	if strings.Contains(text, "\x00") {
		return "", fmt.Errorf("a shell argument cannot contain a NUL character")
	}
	if len(text) >= maxArgument {
		return "", fmt.Errorf("%d bytes are more than a shell argument can have (%d)", len(text), maxArgument-1)
	}
	return text, nil
}

func argumentError(format string, a ...any) error {
	return &runtimes.Failure{Name: "ArgumentError", Message: fmt.Sprintf(format, a...)}
}
