package golang

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	compileError = regexp.MustCompile(`(?m)^(?:vet: )?(?:\./)?inner/main\.go:(\d+)(?::\d+)?: (.+)$`)
	noPackage    = regexp.MustCompile(`imports\n\s+(\S+): (.+)`)
	noVersion    = regexp.MustCompile(`(?m)^go: (?:downloading )?(\S+@\S+): (.+)$`)
	unreachable  = regexp.MustCompile(`dial tcp[^\n]*|proxyconnect[^\n]*|no such host|i/o timeout|connection refused`)
)

// Explain picks the compiler's complaints, or the module that could not be had, out of the output of the go command.
func (Runtime) Explain(output string) string {
	const most = 10
	var lines []string
	for _, m := range compileError.FindAllStringSubmatch(output, most+1) {
		lines = append(lines, fmt.Sprintf("main.go:%s: %s", m[1], strings.TrimSpace(m[2])))
	}
	if len(lines) > most {
		lines = append(lines[:most], "and more")
	}
	if len(lines) > 0 {
		return strings.Join(lines, "\n")
	}
	if m := unreachable.FindString(output); m != "" {
		return "the Go module proxy cannot be reached (" + m + "): check the network, or set GOPROXY for the server"
	}
	for _, m := range append(noPackage.FindAllStringSubmatch(output, most), noVersion.FindAllStringSubmatch(output, most)...) {
		lines = append(lines, fmt.Sprintf("Go package %s cannot be had: %s", m[1], reason(m[2])))
	}
	return strings.Join(lines, "\n")
}

// reason is the last and plainest part of a message of the go command.
func reason(text string) string {
	if strings.Contains(text, "does not contain package") {
		module, _, _ := strings.Cut(strings.TrimPrefix(text, "module "), "@")
		return "module " + module + " has no such package"
	}
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
