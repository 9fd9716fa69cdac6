package rootfs

import (
	"path"
	"slices"
	"strings"
)

// ownDev is where a slot with devices of its own has the folder that is bound to /dev.
const ownDev = "/millrace/dev"

// AddDevices gives the slot whose skeleton lies in root more than the devices that every slot has: extra, nodes and files alike. Such
// a slot has a /dev of its own, so that no other one shows even the names.
func (b *Base) AddDevices(root string, mounts, extra []Mount) ([]Mount, error) {
	dev := root + ownDev
	if err := fillDev(dev); err != nil {
		return nil, err
	}
	out := slices.Clone(mounts)
	for k := range out {
		if out[k].Target == "/dev" {
			out[k].Source = dev
		}
	}
	places := slices.Clone(extra)
	for k := range places {
		if name, ok := strings.CutPrefix(places[k].Target, "/dev/"); ok {
			places[k].Target = path.Join(ownDev, name)
		}
	}
	return append(out, extra...), makeTargets(root, places)
}
