package gpu

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// specFolders are where the Container Device Interface has specifications, which nvidia-ctk and administrators write. What counts
// comes first.
var specFolders = []string{"/var/run/cdi", "/etc/cdi"}

const maxSpec = 4 << 20

// spec is the part of a specification that is of use here: files. Nodes are found by what the driver says itself, and hooks are
// programs, which nobody runs for us.
type spec struct {
	Kind           string `yaml:"kind"`
	ContainerEdits edits  `yaml:"containerEdits"`
}

type edits struct {
	Mounts []struct {
		HostPath string `yaml:"hostPath"`
	} `yaml:"mounts"`
}

// specFiles lists libraries and programs that specifications name. JSON is YAML too. One that can not be read is left out: it is
// somebody else's, and without it the known folders are looked at.
func specFiles(root string) []string {
	var out []string
	for _, dir := range specFolders {
		entries, _ := os.ReadDir(filepath.Join(root, dir))
		for _, e := range entries {
			path := filepath.Join(root, dir, e.Name())
			if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() || st.Size() > maxSpec ||
				!slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			out = append(out, parseSpec(data)...)
		}
	}
	return out
}

func parseSpec(data []byte) []string {
	var s spec
	if yaml.Unmarshal(data, &s) != nil || !strings.HasPrefix(s.Kind, "nvidia.com/") {
		return nil
	}
	var out []string
	for _, m := range s.ContainerEdits.Mounts {
		name := filepath.Base(m.HostPath)
		if filepath.IsAbs(m.HostPath) && (isLibrary(name) || slices.Contains(programNames, name)) {
			out = append(out, filepath.Clean(m.HostPath))
		}
	}
	return out
}
