package gpu_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/sandbox/gpu"
	"github.com/millrace/millrace/sandbox/gpu/gputest"
)

func find(t *testing.T, f *gputest.Tree) *gpu.Inventory {
	t.Helper()
	i, err := gpu.Find(f.Root)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func targets(list []gpu.Bound) (out []string) {
	for _, b := range list {
		out = append(out, b.Target)
	}
	return out
}

func TestAHostWithoutDevices(t *testing.T) {
	t.Parallel()
	i, err := gpu.Find(t.TempDir())
	if err != nil || len(i.Devices)+len(i.Notes)+len(i.Control) != 0 || i.Driver != "" {
		t.Fatalf("%+v %v", i, err)
	}
	if s, err := i.Share(nil); err != nil || len(s.Nodes)+len(s.Files) != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := i.Share([]string{gputest.First}); err == nil || !strings.Contains(err.Error(), "is not on this host") {
		t.Errorf("%v", err)
	}
	if err := i.CheckFiles(); err == nil || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Errorf("%v", err)
	}
}

func TestTwoDevices(t *testing.T) {
	t.Parallel()
	i := find(t, gputest.Pair(t))
	if i.Driver != "550.54.15" || len(i.Devices) != 2 || len(i.Usable()) != 2 || len(i.Control) != 2 {
		t.Fatalf("%+v", i)
	}
	want := gpu.Device{ID: gputest.Second, UUID: gputest.SecondUUID, Name: "NVIDIA Zero 8GB",
		Nodes: []gpu.Node{{Path: "/dev/nvidia5", Major: gputest.Major, Minor: gputest.Zero, Open: true}}}
	if d, ok := i.Device(gputest.Second); !ok || !reflect.DeepEqual(d, want) {
		t.Errorf("%+v", d)
	}
	s, err := i.Share([]string{gputest.Second})
	if err != nil || !reflect.DeepEqual(targets(s.Nodes), []string{"/dev/nvidia5", "/dev/nvidiactl", "/dev/nvidia-uvm"}) {
		t.Errorf("%+v %v", s, err)
	}
	if got := targets(s.Files); !reflect.DeepEqual(got, []string{"/millrace/nvidia/lib/libcuda.so.1", "/millrace/nvidia/lib/libcuda.so.550.54.15", "/millrace/nvidia/bin/nvidia-smi"}) {
		t.Errorf("files %v", got)
	}
	if !strings.HasSuffix(s.Files[0].Source, "/libcuda.so.550.54.15") {
		t.Errorf("the link is not followed: %+v", s.Files[0])
	}
	if err := i.CheckFiles(); err != nil {
		t.Error(err)
	}
	env := i.Env(i.Devices)
	if both := gputest.FirstUUID + "," + gputest.SecondUUID; env["CUDA_VISIBLE_DEVICES"] != both || env["NVIDIA_VISIBLE_DEVICES"] != both ||
		env["LD_LIBRARY_PATH"] != "/millrace/nvidia/lib" || i.Path() != "/millrace/nvidia/bin" {
		t.Errorf("%v %s", env, i.Path())
	}
}

func TestWhatKeepsADeviceFromUse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		spoil func(f *gputest.Tree)
		want  string
	}{
		"no node":       {func(f *gputest.Tree) { remove(t, f, "dev/nvidia3") }, "/dev/nvidia3: the node is missing; run nvidia-modprobe -c 3 -u"},
		"a file":        {func(f *gputest.Tree) { remove(t, f, "dev/nvidia3"); f.Write("dev/nvidia3", "") }, "not a character device"},
		"a link":        {func(f *gputest.Tree) { remove(t, f, "dev/nvidia3"); f.Link("dev/nvidia3", "nvidia5") }, "not a character device"},
		"another one's": {func(f *gputest.Tree) { remove(t, f, "dev/nvidia3"); f.Node("dev/nvidia3", gputest.Full) }, "it is device 1:7, and the driver's is 1:3"},
		"no control":    {func(f *gputest.Tree) { remove(t, f, "dev/nvidiactl") }, "/dev/nvidiactl: the node is missing"},
		"no memory":     {func(f *gputest.Tree) { remove(t, f, "dev/nvidia-uvm") }, "/dev/nvidia-uvm: the node is missing"},
		"no numbers":    {func(f *gputest.Tree) { f.Write("proc/devices", "Character devices:\n  1 mem\n") }, "does not say which node"},
		"excluded":      {func(f *gputest.Tree) { facts(f, "Device Minor: 3\nGPU Excluded: Yes\n") }, "excluded"},
		"no minor":      {func(f *gputest.Tree) { facts(f, "Model: x\n") }, "NVRM"},
		"hostile minor": {func(f *gputest.Tree) { facts(f, "Device Minor: ../mem\n") }, "NVRM"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := gputest.Pair(t)
			c.spoil(f)
			i := find(t, f)
			d, ok := i.Device(gputest.First)
			if !ok || !strings.Contains(d.Problem, c.want) {
				t.Errorf("%+v", d)
			}
			if _, err := i.Share([]string{gputest.First}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func facts(f *gputest.Tree, text string) {
	f.Write("proc/driver/nvidia/gpus/"+gputest.First+"/information", text)
}

func remove(t *testing.T, f *gputest.Tree, path string) {
	t.Helper()
	if err := os.Remove(filepath.Join(f.Root, path)); err != nil {
		t.Fatal(err)
	}
}

func TestInstancesOfADividedDevice(t *testing.T) {
	t.Parallel()
	f := gputest.Pair(t)
	f.Instance(gputest.Zero, 1, 0, gputest.Null, gputest.Zero)
	f.Instance(gputest.Zero, 2, 0, gputest.Full, gputest.Rand)
	i := find(t, f)
	if len(i.Usable()) != 3 {
		t.Fatalf("%+v", i.Devices)
	}
	s, err := i.Share([]string{gputest.Second + "/2/0"})
	want := []string{"/dev/nvidia5", "/dev/nvidia-caps/nvidia-cap7", "/dev/nvidia-caps/nvidia-cap8", "/dev/nvidiactl", "/dev/nvidia-uvm"}
	if err != nil || !reflect.DeepEqual(targets(s.Nodes), want) {
		t.Errorf("%v %v", targets(s.Nodes), err)
	}
	d, _ := i.Device(gputest.Second + "/2/0")
	if env := i.Env([]gpu.Device{d}); env["CUDA_VISIBLE_DEVICES"] != "0" || !d.Instance() {
		t.Errorf("%+v %v", d, env)
	}
	if _, ok := i.Device(gputest.Second); ok {
		t.Error("a divided device can still be had as a whole")
	}
	remove(t, f, "dev/nvidia-caps/nvidia-cap8")
	if d, _ := find(t, f).Device(gputest.Second + "/2/0"); !strings.Contains(d.Problem, "nvidia-cap8: the node is missing; run nvidia-modprobe -f /proc/driver") {
		t.Errorf("%+v", d)
	}
}

func TestAnUninitialisedDeviceHasNoUUID(t *testing.T) {
	t.Parallel()
	f := gputest.New(t)
	f.Device(gputest.First, "GPU-????????-????-????-????-????????????", "Unknown", gputest.Null)
	i := find(t, f)
	if d := i.Devices[0]; d.UUID != "" || d.Problem != "" || i.Env(i.Devices)["CUDA_VISIBLE_DEVICES"] != "0" {
		t.Errorf("%+v", d)
	}
}

func TestDevicesThatNoDriverHasTaken(t *testing.T) {
	t.Parallel()
	f := gputest.Pair(t)
	for id, class := range map[string]string{gputest.First: "0x030200", "0000:81:00.0": "0x030200", "0000:82:00.0": "0x030000", "0000:82:00.1": "0x040300"} {
		f.Write("sys/bus/pci/devices/"+id+"/vendor", "0x10de\n")
		f.Write("sys/bus/pci/devices/"+id+"/class", class+"\n")
	}
	f.Link("sys/bus/pci/devices/0000:82:00.0/driver", "../../drivers/nouveau")
	i := find(t, f)
	if len(i.Notes) != 2 || !strings.Contains(i.Notes[0], "0000:81:00.0: no driver has taken it") || !strings.Contains(i.Notes[1], "the driver nouveau has taken it") {
		t.Errorf("%q", i.Notes)
	}
}

func TestFilesNamedBySpecifications(t *testing.T) {
	t.Parallel()
	f := gputest.Pair(t)
	f.Library("opt/driver/libcuda.so.1")
	f.Library("opt/driver/libnvidia-ml.so.1")
	f.Write("etc/cdi/nvidia.yaml", "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ncontainerEdits:\n  deviceNodes: [{path: /dev/mem}]\n  hooks: [{path: /bin/sh}]\n"+
		"  mounts:\n  - {hostPath: /opt/driver/libcuda.so.1, containerPath: /x}\n  - hostPath: /etc/shadow\n  - hostPath: relative/libcuda.so.2\n")
	f.Write("var/run/cdi/x.json", `{"kind":"nvidia.com/gpu","containerEdits":{"mounts":[{"hostPath":"/opt/driver/libnvidia-ml.so.1"}]}}`)
	f.Write("etc/cdi/other.yaml", "kind: vendor.com/thing\ncontainerEdits: {mounts: [{hostPath: /opt/driver/libcuda.so.9}]}\n")
	f.Write("etc/cdi/broken.yaml", "kind: [")
	i := find(t, f)
	got := strings.Join(i.Files(), " ")
	if !strings.HasPrefix(got, "/opt/driver/libnvidia-ml.so.1 /opt/driver/libcuda.so.1 ") || strings.Contains(got, "shadow") || strings.Contains(got, "/dev/mem") {
		t.Error(got)
	}
	s, err := i.Share([]string{gputest.First})
	if err != nil || strings.Contains(strings.Join(targets(s.Nodes), " "), "mem") {
		t.Errorf("%+v %v", s, err)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, bad := range [][]string{{"/dev/mem"}, {"nvidia0"}, {""}, {gputest.First + "/../x"}, {gputest.First, gputest.First}, {gputest.First + "\n"}, make([]string, gpu.MaxDevices+1)} {
		if gpu.CheckIDs(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := gpu.CheckIDs([]string{gputest.First, gputest.Second + "/1/0"}); err != nil {
		t.Error(err)
	}
}
