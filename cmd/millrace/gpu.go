package main

import (
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine/dispatch"
	"github.com/millrace/millrace/engine/gpu"
	host "github.com/millrace/millrace/sandbox/gpu"
)

// gpuTag in --tags stands for the tags of jobs with GPUs, as default does too.
const gpuTag = "gpu"

// gpus finds the host's GPUs and makes the lane of jobs that need some. Both are nil when there are none to give, or when --tags leaves
// them to another daemon on this host: two would give the same device to two jobs.
func (d *daemon) gpus(log zerolog.Logger) (*gpu.Devices, *dispatch.Gated) {
	if !d.cfg.takes(defaultTags) && !d.cfg.takes(gpuTag) {
		return nil, nil
	}
	devices := gpu.New(gpu.Config{
		Find: func() (*host.Inventory, error) { return host.Find(d.cfg.gpuRoot) }, OnFree: func() { d.dispatch.Look() }, Log: log,
	})
	if devices.Slots() == 0 {
		return nil, nil
	}
	return devices, &dispatch.Gated{Tags: devices.Tags(), Slots: devices.Slots(), Gate: devices}
}
