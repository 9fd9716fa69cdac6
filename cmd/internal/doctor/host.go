package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// The oldest kernel with all that a slot is made of: close_range, pidfd, clone3, proc without the system.s part.
const (
	kernelMajor = 5
	kernelMinor = 10
)

var namespaces = []string{"pid", "mnt", "ipc", "uts", "net", "user"}

// controllers are the cgroup controllers that limits are made of.
var controllers = []string{"memory", "pids", "cpu"}

// host is what /proc and /sys tell.
type host struct {
	release    string
	euid       int
	namespaces []string // those the kernel has
	userLimit  string   // user.max_user_namespaces, "" when there is no such switch
	userClone  string   // kernel.unprivileged_userns_clone (Debian), "" when there is no such switch
	apparmor   string   // kernel.apparmor_restrict_unprivileged_userns (Ubuntu), likewise
	seccomp    string   // actions that filters may take
	cgroups    cgroups
}

// cgroups is how control groups are mounted.
type cgroups struct {
	mode        string   // "v2", "v1", "hybrid" or "" for none
	controllers []string // that can be used
}

func readHost() host {
	var u unix.Utsname
	h := host{euid: os.Geteuid()}
	if unix.Uname(&u) == nil {
		h.release = unix.ByteSliceToString(u.Release[:])
	}
	for _, ns := range namespaces {
		if _, err := os.Lstat("/proc/self/ns/" + ns); err == nil {
			h.namespaces = append(h.namespaces, ns)
		}
	}
	h.userLimit = word("/proc/sys/user/max_user_namespaces")
	h.userClone = word("/proc/sys/kernel/unprivileged_userns_clone")
	h.apparmor = word("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	h.seccomp = word("/proc/sys/kernel/seccomp/actions_avail")
	if f, err := os.Open("/proc/self/mountinfo"); err == nil {
		h.cgroups = readCgroups(f, word("/sys/fs/cgroup/cgroup.controllers"))
		f.Close()
	}
	return h
}

// word is the trimmed content of a small file, "" when it cannot be read.
func word(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// readCgroups reads mountinfo; unified is the controller list of the version 2 root.
func readCgroups(mountinfo io.Reader, unified string) cgroups {
	var v1, v2 bool
	var found []string
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup") {
			continue
		}
		switch kind[0] {
		case "cgroup2":
			v2 = true
		case "cgroup":
			v1 = true
			for _, option := range strings.Split(kind[2], ",") {
				if slices.Contains(controllers, option) {
					found = append(found, option)
				}
			}
		}
	}
	switch {
	case v1 && v2:
		return cgroups{"hybrid", inOrder(found)}
	case v1:
		return cgroups{"v1", inOrder(found)}
	case v2:
		return cgroups{"v2", inOrder(strings.Fields(unified))}
	}
	return cgroups{}
}

// inOrder returns those of controllers that are in found.
func inOrder(found []string) []string {
	var out []string
	for _, c := range controllers {
		if slices.Contains(found, c) {
			out = append(out, c)
		}
	}
	return out
}

func (h host) checkKernel() []Check {
	kernel := Check{Area: "kernel", Name: "version", Status: OK, Value: h.release}
	if major, minor, ok := parseRelease(h.release); ok && (major < kernelMajor || major == kernelMajor && minor < kernelMinor) {
		kernel.Status = Missing
		kernel.Why = fmt.Sprintf("sandboxes need Linux %d.%d", kernelMajor, kernelMinor)
		kernel.Fix = "boot a newer kernel"
	}
	arch := Check{Area: "kernel", Name: "machine", Status: OK, Value: fmt.Sprintf("%s, %d cores", runtime.GOARCH, runtime.NumCPU())}
	return []Check{kernel, arch}
}

func parseRelease(release string) (major, minor int, ok bool) {
	a, rest, _ := strings.Cut(release, ".")
	b, _, _ := strings.Cut(rest, ".")
	b, _, _ = strings.Cut(b, "-")
	major, err1 := strconv.Atoi(a)
	minor, err2 := strconv.Atoi(b)
	return major, minor, err1 == nil && err2 == nil
}

func (h host) checkSandbox() []Check {
	return []Check{h.checkNamespaces(), h.checkUserNamespaces(), h.checkCgroups(), h.checkSeccomp(), h.checkPrivilege()}
}

func (h host) checkNamespaces() Check {
	c := Check{Area: "sandbox", Name: "namespaces", Status: OK, Value: strings.Join(h.namespaces, " ")}
	var lost []string
	for _, ns := range namespaces {
		if !slices.Contains(h.namespaces, ns) {
			lost = append(lost, ns)
		}
	}
	if len(lost) > 0 {
		c.Status, c.Why = Missing, "the kernel was built without "+strings.Join(lost, ", ")
		c.Fix = "boot a distribution's kernel"
	}
	return c
}

// userNamespaces says why users without privileges can not make namespaces, and what to do; "" when they can.
func (h host) userNamespaces() (why, fix string) {
	switch {
	case h.userLimit == "0":
		return "user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=15000"
	case h.userClone == "0":
		return "kernel.unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1"
	case h.apparmor == "1":
		return "AppArmor keeps unprivileged programs from using user namespaces",
			"install the package, whose AppArmor profile allows it, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	}
	return "", ""
}

func (h host) checkUserNamespaces() Check {
	c := Check{Area: "sandbox", Name: "user namespaces", Status: OK, Value: "available"}
	why, fix := h.userNamespaces()
	switch {
	case why == "":
	case h.userLimit == "0":
		c.Status, c.Value, c.Why, c.Fix = Missing, "switched off", why, fix
	default:
		c.Value = "for root only"
		if h.euid != 0 {
			c.Status, c.Why, c.Fix = Warning, why, fix
		}
	}
	return c
}

func (h host) checkCgroups() Check {
	c := Check{Area: "sandbox", Name: "control groups", Status: OK,
		Value: strings.TrimSpace(h.cgroups.mode + " " + strings.Join(h.cgroups.controllers, " "))}
	if h.cgroups.mode == "" {
		c.Status, c.Value, c.Why = Warning, "not mounted", "memory, process and CPU limits of jobs can not be kept"
		c.Fix = "mount -t cgroup2 none /sys/fs/cgroup, or run where the host shows its control groups"
		return c
	}
	var lost []string
	for _, name := range controllers {
		if !slices.Contains(h.cgroups.controllers, name) {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		c.Status, c.Why = Warning, "limits on "+strings.Join(lost, ", ")+" can not be kept: no such controller"
		c.Fix = "remove cgroup_disable from the kernel's command line, or give this container the controllers"
	}
	return c
}

func (h host) checkSeccomp() Check {
	c := Check{Area: "sandbox", Name: "seccomp filters", Status: OK, Value: "available"}
	if !strings.Contains(h.seccomp, "errno") {
		c.Status, c.Value = Missing, "not available"
		c.Why, c.Fix = "jobs could use every system call", "boot a kernel with CONFIG_SECCOMP_FILTER"
	}
	return c
}

func (h host) checkPrivilege() Check {
	if h.euid == 0 {
		return Check{Area: "sandbox", Name: "privileges", Status: OK, Value: "root (the daemon keeps them in millrace-jail only)"}
	}
	return Check{Area: "sandbox", Name: "privileges", Status: Warning, Value: fmt.Sprintf("uid %d", h.euid),
		Why: "without millrace-jail's root, slots have weaker walls", Fix: "sudo millrace serve, or install the package"}
}

// strength judges the isolation that serve would give when started by this user.
func (h host) strength() sandbox.Strength {
	lacks := []sandbox.Lack{}
	noGroups := h.cgroups.mode == "" || len(h.cgroups.controllers) < len(controllers)
	if noGroups {
		c := h.checkCgroups()
		lacks = append(lacks, sandbox.Lack{What: "memory, process and CPU limits", Why: c.Why, Fix: c.Fix})
	}
	if h.euid == 0 {
		return sandbox.Strength{Mode: "full", Lacks: lacks}
	}
	if why, fix := h.userNamespaces(); why != "" {
		return sandbox.Strength{Mode: "none", Lacks: []sandbox.Lack{{What: sandbox.LackWalls, Why: why, Fix: fix}}}
	}
	if !noGroups {
		lacks = append(lacks, sandbox.Lack{What: "memory, process and CPU limits", Why: "only root may make control groups here",
			Fix: "sudo millrace serve, or install the package"})
	}
	lacks = append(lacks, sandbox.Lack{What: "a user of its own for each slot", Why: "one user can map only itself",
		Fix: "sudo millrace serve, or install the package"})
	return sandbox.Strength{Mode: "rootless", Lacks: lacks}
}
