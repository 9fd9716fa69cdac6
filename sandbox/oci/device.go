package oci

import (
	"fmt"

	"github.com/millrace/millrace/sandbox/gpu"
	"github.com/millrace/millrace/sandbox/rootfs"
)

// addDevices adds the devices called ids to a slot's mounts. They are looked up here and now: nothing but their names comes from
// who asks, and a device that has vanished since is an error and not an empty file.
func (h *Host) addDevices(root string, mounts []rootfs.Mount, ids []string) ([]rootfs.Mount, []gpu.Bound, error) {
	if len(ids) == 0 {
		return mounts, nil, nil
	}
	top := h.config.GPURoot
	if top == "" {
		top = "/"
	}
	found, err := gpu.Find(top)
	if err != nil {
		return nil, nil, err
	}
	share, err := found.Share(ids)
	if err != nil {
		return nil, nil, err
	}
	var extra []rootfs.Mount
	for _, n := range share.Nodes {
		extra = append(extra, rootfs.Mount{Source: n.Source, Target: n.Target, Device: true})
	}
	for _, f := range share.Files {
		extra = append(extra, rootfs.Mount{Source: f.Source, Target: f.Target})
	}
	if mounts, err = h.base.AddDevices(root, mounts, extra); err != nil {
		return nil, nil, fmt.Errorf("show devices: %w", err)
	}
	return mounts, share.Nodes, nil
}
