package doctor

import (
	"fmt"

	"github.com/millrace/millrace/sandbox/gpu"
)

// checkGPUs says which GPUs jobs can have; a host without any lacks nothing.
func checkGPUs(root string) []Check {
	found, err := gpu.Find(root)
	if err != nil {
		return []Check{{Area: "gpu", Name: "devices", Status: Warning, Value: "can not be looked for", Why: err.Error(), Fix: "let the daemon's user read /proc and /sys"}}
	}
	var out []Check
	for _, d := range found.Devices {
		c := Check{Area: "gpu", Name: d.ID, Status: OK, Value: d.Name + " " + d.UUID}
		if d.UUID == "" {
			c.Value = d.Name + ", which the driver has not initialised yet"
		}
		if d.Problem != "" {
			c.Status, c.Why, c.Fix = Warning, "no job gets it: "+d.Problem, "mend that and start the daemon again"
		}
		for _, n := range d.Nodes {
			if !n.Open {
				c.Status, c.Why = Warning, fmt.Sprintf("%s is not open to everybody, and jobs run as users of their own", n.Path)
				c.Fix = "load the driver with NVreg_DeviceFileMode=0666"
			}
		}
		out = append(out, c)
	}
	for _, note := range found.Notes {
		out = append(out, Check{Area: "gpu", Name: "bus", Status: Warning, Value: "a device that jobs can not have", Why: note, Fix: "mend that and start the daemon again"})
	}
	if len(out) == 0 {
		return []Check{{Area: "gpu", Name: "devices", Status: OK, Value: "none"}}
	}
	if len(found.Devices) > 0 {
		c := Check{Area: "gpu", Name: "driver", Status: OK, Value: found.Driver}
		if err := found.CheckFiles(); err != nil {
			c.Status, c.Why, c.Fix = Warning, "jobs can not compute on the devices", err.Error()
		}
		out = append(out, c)
	}
	return out
}
