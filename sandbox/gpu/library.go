package gpu

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// The driver's libraries and programs that a process with a device may need: computing, video, ray tracing, OpenCL. They must be
// of the very version of the kernel's driver, so they are never part of what a script brings along.
var (
	libraryNames = []string{
		"libcuda.so.", "libcudadebugger.so.", "libnvidia-ml.so.", "libnvidia-ptxjitcompiler.so.", "libnvidia-nvvm",
		"libnvidia-gpucomp.so.", "libnvidia-opencl.so.", "libnvidia-cfg.so.", "libnvidia-allocator.so.", "libnvidia-compiler.so.",
		"libnvcuvid.so.", "libnvidia-encode.so.", "libnvidia-opticalflow.so.", "libnvoptix.so.", "libnvidia-rtcore.so.",
		"libnvidia-pkcs11", "libnvidia-tileiras.so.",
	}
	programNames = []string{"nvidia-smi", "nvidia-debugdump"}
)

// Folders where they are looked for besides the linker's cache; drivers in containers and of some distributions lie there.
var (
	libraryFolders = []string{
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib",
		"/usr/local/nvidia/lib64", "/opt/nvidia/lib64", "/opt/nvidia/lib", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
		"/run/nvidia/driver/usr/lib/aarch64-linux-gnu", "/run/nvidia/driver/usr/lib64", "/run/opengl-driver/lib",
	}
	programFolders = []string{
		"/usr/bin", "/usr/sbin", "/usr/lib/wsl/lib", "/usr/local/nvidia/bin", "/opt/nvidia/bin", "/opt/bin",
		"/run/nvidia/driver/usr/bin", "/run/current-system/sw/bin",
	}
)

func isLibrary(name string) bool {
	return slices.ContainsFunc(libraryNames, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Files lists the driver's libraries and programs on this host, one path a name: what CDI specs name first, for that is what
// somebody wrote down, then what the linker's cache knows, then what lies in known folders.
func (i *Inventory) Files() []string {
	i.once.Do(func() { i.files = i.findFiles() })
	return i.files
}

func (i *Inventory) findFiles() []string {
	seen := map[string]bool{}
	out := []string{}
	add := func(path string, check bool) {
		name := filepath.Base(path)
		if seen[name] || (check && !ours(filepath.Join(i.root, path))) {
			return
		}
		if st, err := os.Stat(filepath.Join(i.root, path)); err != nil || !st.Mode().IsRegular() {
			return
		}
		seen[name] = true
		out = append(out, path)
	}
	for _, path := range specFiles(i.root) {
		add(path, isLibrary(filepath.Base(path)))
	}
	for _, path := range cachedLibraries(filepath.Join(i.root, "etc/ld.so.cache")) {
		if isLibrary(filepath.Base(path)) {
			add(path, true)
		}
	}
	for _, dir := range libraryFolders {
		entries, _ := os.ReadDir(filepath.Join(i.root, dir)) // most are not there
		for _, e := range entries {
			if isLibrary(e.Name()) {
				add(filepath.Join(dir, e.Name()), true)
			}
		}
	}
	for _, dir := range programFolders {
		for _, name := range programNames {
			add(filepath.Join(dir, name), false)
		}
	}
	return out
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// ours tells whether a library is for this machine: hosts also have those for 32 bits.
func ours(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	want, known := machines[runtime.GOARCH]
	return f.Class == elf.ELFCLASS64 && (!known || f.Machine == want)
}

// errNoDriver is the trouble of a host whose driver has been installed by halves.
var errNoDriver = errors.New("the driver's library libcuda.so.1 is not on this host; install the driver's libraries (libnvidia-compute or nvidia-driver-cuda-libs)")

// CheckFiles says which part of the driver is missing without which nothing can be computed.
func (i *Inventory) CheckFiles() error {
	if !slices.ContainsFunc(i.Files(), func(p string) bool { return filepath.Base(p) == "libcuda.so.1" }) {
		return errNoDriver
	}
	return nil
}
