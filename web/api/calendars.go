package api

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

func (h *API) calendarRoutes() []Route {
	const c = "/api/w/{workspace}/calendars/"
	return []Route{
		{Method: "POST", Path: c + "put", Name: "putCalendar", Group: "calendars", Access: User, Status: statusNew,
			Summary: "Makes a calendar, or replaces the one at its path", Body: JSONOf(wire.NewCalendar{}), Answer: TextOf("the path"), Handle: h.putCalendar},
		{Method: "GET", Path: c + "get/{path:*}", Name: "getCalendar", Group: "calendars", Access: User,
			Summary: "A calendar", Answer: JSONOf(wire.Calendar{}), Handle: h.getCalendar},
		{Method: "GET", Path: c + "list", Name: "listCalendars", Group: "calendars", Access: User,
			Summary: "All calendars by path", Answer: JSONOf([]wire.Calendar{}), Handle: h.listCalendars},
		{Method: "DELETE", Path: c + "delete/{path:*}", Name: "deleteCalendar", Group: "calendars", Access: User,
			Summary: "Deletes a calendar that no schedule uses", Answer: TextOf("the path"), Handle: h.deleteCalendar},
	}
}

func (h *API) putCalendar(a *Ask) error {
	var n wire.NewCalendar
	if err := a.body(&n); err != nil {
		return err
	}
	if err := engine.CheckPath("calendar.put", n.Path); err != nil {
		return err
	}
	c := engine.Calendar{Workspace: a.Workspace, Path: n.Path, Summary: n.Summary, Days: n.Days, Weekdays: n.Weekdays}
	if err := h.schedules.PutCalendar(a.Base, a.Who, c); err != nil {
		return err
	}
	Text(a.RequestCtx, statusNew, n.Path)
	return nil
}

func viewCalendar(c *engine.Calendar) wire.Calendar {
	orNone := func(list []string) []string { return append([]string{}, list...) }
	return wire.Calendar{WorkspaceID: c.Workspace, Path: c.Path, Summary: c.Summary, Days: orNone(c.Days), Weekdays: orNone(c.Weekdays),
		EditedBy: c.EditedBy, EditedAt: c.EditedAt.UTC()}
}

func (h *API) getCalendar(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	c, err := h.schedules.GetCalendar(a.Base, a.Who, a.Workspace, path)
	if err != nil {
		return err
	}
	return JSON(a.RequestCtx, viewCalendar(c))
}

func (h *API) listCalendars(a *Ask) error {
	found, err := h.schedules.ListCalendars(a.Base, a.Who, a.Workspace)
	if err != nil {
		return err
	}
	list := make([]wire.Calendar, 0, len(found))
	for i := range found {
		list = append(list, viewCalendar(&found[i]))
	}
	return JSON(a.RequestCtx, list)
}

func (h *API) deleteCalendar(a *Ask) error {
	path, err := a.param("path")
	if err != nil {
		return err
	}
	return a.answerPath(path, h.schedules.DeleteCalendar(a.Base, a.Who, a.Workspace, path))
}
