// Package house keeps the rules of the house: which room may import which, where each fixed dependency lives, how long a file
// may be, what a package may be called. The rules are data here; house_test.go walks the tree and applies them.
package house

import (
	"slices"
	"strings"
)

// Module is the import path of the tree.
const Module = "github.com/millrace/millrace"

// line is the import line, left to right: a package imports its own room and rooms to its right.
var line = []string{"cmd", "web", "engine", "runtimes", "sandbox"}

// pure are the rooms whose root package holds types only.
var pure = []string{"engine", "runtimes", "sandbox"}

// topLevel is everything visible that may lie at the top.
var topLevel = []string{"cmd", "engine", "sandbox", "runtimes", "web", "bench", "packaging", "systemd",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE"}

// home is where a fixed dependency lives. Tests stands for the test files of further folders, which may use it to look
// behind the scenes.
type home struct {
	dependency string
	folders    []string
	tests      []string
}

var homes = []home{
	// The adapter of River is a module of its own: it must give River a pool.
	{dependency: "github.com/jackc/pgx", folders: []string{"engine/store", "bench/peers/river"}, tests: []string{"engine"}},
	{dependency: "github.com/opencontainers/runc", folders: []string{"sandbox/oci"}},
	{dependency: "github.com/containerd/cgroups", folders: []string{"sandbox/cgroup"}},
	{dependency: "github.com/google/nftables", folders: []string{"sandbox/network"}},
	{dependency: "github.com/vishvananda/netlink", folders: []string{"sandbox/network"}},
	{dependency: "github.com/miekg/dns", folders: []string{"sandbox/resolver"}},
	{dependency: "github.com/valyala/fasthttp", folders: []string{"web"}},
	{dependency: "github.com/fasthttp/router", folders: []string{"web"}},
	{dependency: "github.com/panjf2000/ants", folders: []string{"engine/dispatch"}},
	// The global logger has no home: a logger is passed by value from cmd.
	{dependency: "github.com/rs/zerolog/log"},
}

// vagueNames say nothing about a package's duty.
var vagueNames = []string{"util", "utils", "common", "helpers", "helper", "types", "models", "misc", "shared", "base"}

// languages may be named only in runtimes/<language>, in the list of families, and by what plays the user: the example, the
// benchmarks and tests. Everything else treats a language as data.
var languages = []string{"python3", "bun", "go", "bash"}

var languageRooms = []string{"runtimes/python", "runtimes/bun", "runtimes/golang", "runtimes/bash",
	"cmd/millrace/families.go", "cmd/internal/example", "cmd/internal/house", "bench",
	"sandbox/rootfs/etc.go"} // where it is the name of a Debian folder in /etc

// Lines of a file: above wanted the test says so, above allowed it fails.
const (
	linesWanted  = 400
	linesAllowed = 700
)

// room returns the position of a folder in the import line, -1 when it is not on it.
func room(folder string) int {
	first, _, _ := strings.Cut(folder, "/")
	for i, name := range line {
		if name == first {
			return i
		}
	}
	return -1
}

// within tells whether folder is one of the given ones or below one.
func within(folder string, parents []string) bool {
	for _, p := range parents {
		if folder == p || strings.HasPrefix(folder, p+"/") {
			return true
		}
	}
	return false
}

// CheckImport says why a file in folder may not import path; "" when it may. Both folders are relative to the top.
func CheckImport(folder, path string, test bool) string {
	for _, h := range homes {
		if path != h.dependency && !strings.HasPrefix(path, h.dependency+"/") {
			continue
		}
		if within(folder, h.folders) || test && within(folder, h.tests) {
			continue
		}
		if len(h.folders) == 0 {
			return path + " is not used in this house"
		}
		return path + " has its home in " + strings.Join(h.folders, ", ")
	}
	target, ours := strings.CutPrefix(path, Module+"/")
	if !ours {
		return ""
	}
	if folder == "bench" || strings.HasPrefix(folder, "bench/") {
		if target != "web/client" && !strings.HasPrefix(target, "bench/") {
			return "bench uses web/client only: it measures from outside"
		}
		return ""
	}
	from, to := room(folder), room(target)
	switch {
	case from < 0 || to < 0:
		return target + " is not on the import line " + strings.Join(line, " -> ")
	case to < from:
		return target + " is left of " + folder + " on the import line " + strings.Join(line, " -> ")
	case from == to && slices.Contains(pure, folder) && strings.HasPrefix(target, folder+"/") && !test:
		return "the root package of " + folder + " imports none of its sub-packages"
	}
	return ""
}
