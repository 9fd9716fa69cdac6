package gpu

import (
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox/gpu"
)

// Grant is the devices of one job.
type Grant struct {
	from    *Devices
	found   *gpu.Inventory
	devices []gpu.Device
	once    sync.Once
}

// IDs are those of the devices, for sandbox.Template.Devices.
func (g *Grant) IDs() []string {
	var out []string
	for _, x := range g.devices {
		out = append(out, x.ID)
	}
	return out
}

// placement are the calls by which CUDA asks, and says, on which memory of the host its buffers lie.
var placement = []string{"get_mempolicy", "set_mempolicy", "mbind"}

// Fit changes a launch into one with the devices, and env, the job's variables, into what its libraries need to find them.
func (g *Grant) Fit(l runtimes.Launch, env *runtimes.Env) runtimes.Launch {
	l.Template.Devices = g.IDs()
	for _, call := range placement {
		if !slices.Contains(l.Template.Calls, call) {
			l.Template.Calls = append(slices.Clone(l.Template.Calls), call)
		}
	}
	for name, value := range g.found.Env(g.devices) {
		env.Set(name, value)
		if name == "LD_LIBRARY_PATH" && len(l.Template.Zygote) > 0 { // read once, when a process starts
			l.Template.ZygoteEnv = append(slices.Clone(l.Template.ZygoteEnv), name+"="+value)
		}
	}
	if path, _ := env.Get("PATH"); g.found.Path() != "" && !strings.Contains(path, g.found.Path()) {
		env.Set("PATH", strings.TrimPrefix(path+":"+g.found.Path(), ":"))
	}
	return l
}

// Release gives the devices back; no process may have them any more. Only the first call does something.
func (g *Grant) Release() { g.end("") }

// Spoil takes the devices out of use until the daemon starts again: something may still hold them.
func (g *Grant) Spoil(why string) { g.end(why) }

func (g *Grant) end(why string) {
	g.once.Do(func() {
		d := g.from
		d.mu.Lock()
		for _, x := range g.devices {
			delete(d.holders, x.ID)
			if why != "" {
				d.spoiled[x.ID] = why
				d.cfg.Log.Error().Str("device", x.ID).Msg("this GPU is not handed out again: " + why)
			}
		}
		d.settle()
		d.mu.Unlock()
		d.cfg.OnFree()
	})
}
