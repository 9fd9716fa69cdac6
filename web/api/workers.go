package api

import (
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) workerRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/api/workers/list", Name: "listWorkers", Group: "workers", Access: User,
			Params:  join([]Param{query("ping_since", "integer", "only workers seen in the last so many seconds")}, pageParams),
			Summary: "Processes that take jobs", Answer: JSONOf([]wire.Worker{}), Handle: h.listWorkers},
	}
}

func (h *API) listWorkers(a *Ask) error {
	o := a.options()
	since, limited := o.whole("ping_since", 0, 1<<31)
	page, per := o.page(false)
	if o.err != nil {
		return o.err
	}
	found, err := h.jobs.Workers(a.Base)
	if err != nil {
		return err
	}
	list := []wire.Worker{}
	for _, w := range found {
		ago := int64(max(time.Since(w.Heartbeat), 0) / time.Second)
		if limited && ago > since {
			continue
		}
		tags := w.Tags
		if tags == nil {
			tags = []string{}
		}
		list = append(list, wire.Worker{ID: w.ID, Name: w.Name, Instance: w.Host, Host: w.Host, PID: w.PID, Group: "default", Tags: tags,
			Slots: w.Slots, Busy: w.Busy, Executed: w.Executed, StartedAt: w.Started, PingAt: w.Heartbeat, LastPing: ago, WMVersion: w.Version, GPUs: gpus(w.GPUs)})
	}
	from := min((page-1)*per, len(list))
	return JSON(a.RequestCtx, append([]wire.Worker{}, list[from:min(from+per, len(list))]...))
}

func gpus(list []engine.GPU) (out []wire.GPU) {
	for _, g := range list {
		x := wire.GPU{ID: g.ID, UUID: g.UUID, Name: g.Name, Problem: g.Problem}
		if g.Job != nil {
			x.Job = g.Job.String()
		}
		out = append(out, x)
	}
	return out
}
