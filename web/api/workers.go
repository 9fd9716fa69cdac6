package api

import (
	"time"
)

// Worker is a live worker as clients read it.
type Worker struct {
	ID        int32     `json:"id"`
	Name      string    `json:"worker"`
	Instance  string    `json:"worker_instance" doc:"host and process"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Group     string    `json:"worker_group"`
	Tags      []string  `json:"custom_tags"`
	Slots     int       `json:"slots"`
	StartedAt time.Time `json:"started_at"`
	PingAt    time.Time `json:"ping_at"`
	LastPing  int64     `json:"last_ping" doc:"seconds ago"`
	WMVersion string    `json:"wm_version"`
}

func (h *API) workerRoutes() []Route {
	return []Route{
		{Method: "GET", Path: "/api/workers/list", Name: "listWorkers", Group: "workers", Access: User,
			Params:  join([]Param{query("ping_since", "integer", "only workers seen in the last so many seconds")}, pageParams),
			Summary: "Processes that take jobs", Answer: JSONOf([]Worker{}), Handle: h.listWorkers},
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
	list := []Worker{}
	for _, w := range found {
		ago := int64(max(time.Since(w.Heartbeat), 0) / time.Second)
		if limited && ago > since {
			continue
		}
		tags := w.Tags
		if tags == nil {
			tags = []string{}
		}
		list = append(list, Worker{ID: w.ID, Name: w.Name, Instance: w.Host, Host: w.Host, PID: w.PID, Group: "default", Tags: tags,
			Slots: w.Slots, StartedAt: w.Started, PingAt: w.Heartbeat, LastPing: ago, WMVersion: h.version})
	}
	from := min((page-1)*per, len(list))
	return JSON(a.RequestCtx, append([]Worker{}, list[from:min(from+per, len(list))]...))
}
