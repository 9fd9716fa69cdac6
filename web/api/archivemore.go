package api

import (
	"encoding/json"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/secret"
)

func (c *collected) variables() error {
	show := secret.Sealed
	if c.plainSecrets {
		show = secret.Plain
	}
	return pages(func(page, per int) (int, error) {
		list, err := c.h.values.ListVariables(c.a.Base, c.a.Who, c.a.Workspace, engine.ValueFilter{Limit: per, Offset: (page - 1) * per})
		for i := range list {
			x := &list[i]
			if x.IsSecret && c.skipSecrets {
				continue
			}
			if x.IsSecret {
				var err error
				if x, err = c.h.values.GetVariable(c.a.Base, c.a.Who, c.a.Workspace, x.Path, show); err != nil {
					return 0, err
				}
			}
			if err := c.put(x.Path+".variable.json", map[string]any{"value": x.Value, "is_secret": x.IsSecret, "description": x.Description}, nil); err != nil {
				return 0, err
			}
		}
		return len(list), err
	})
}

func (c *collected) resources() error {
	return pages(func(page, per int) (int, error) {
		list, err := c.h.values.ListResources(c.a.Base, c.a.Who, c.a.Workspace, engine.ValueFilter{Limit: per, Offset: (page - 1) * per})
		for _, r := range list {
			if err := c.put(r.Path+".resource.json", map[string]any{"value": r.Value, "resource_type": r.Type, "description": r.Description}, nil); err != nil {
				return 0, err
			}
		}
		return len(list), err
	})
}

func (c *collected) types() error {
	list, err := c.h.values.ListTypes(c.a.Base, c.a.Who, c.a.Workspace)
	if err != nil {
		return err
	}
	for _, t := range list {
		more := map[string]json.RawMessage{"format_extension": quote(t.FormatExtension)}
		if t.IsFileset {
			more["is_fileset"] = json.RawMessage("true")
		}
		if err := c.put(t.Name+".resource-type.json", map[string]any{"schema": t.Schema, "description": t.Description}, more); err != nil {
			return err
		}
	}
	return nil
}

// notInArchive are the fields of a schedule that its file does not have.
var notInArchive = []string{"path", "workspace_id", "edited_by", "edited_at", "email", "error", "extra_perms", "permissioned_as", "next_at"}

func (c *collected) schedules() error {
	return pages(func(page, per int) (int, error) {
		list, err := c.h.schedules.List(c.a.Base, c.a.Who, c.a.Workspace, engine.ScheduleFilter{Page: page, PerPage: per})
		for i := range list {
			b, err := viewSchedule(&list[i], nil)
			if err != nil {
				return 0, err
			}
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(b, &fields); err != nil {
				return 0, err
			}
			for _, name := range notInArchive {
				delete(fields, name)
			}
			out := map[string]any{}
			for name, v := range fields {
				if string(v) != "null" {
					out[name] = v
				}
			}
			if err := c.put(list[i].Path+".schedule.json", out, nil); err != nil {
				return 0, err
			}
		}
		return len(list), err
	})
}

func (c *collected) groups() error {
	list, err := c.h.people.Groups(c.a.Base, c.a.Who, c.a.Workspace)
	if err != nil {
		return err
	}
	for _, g := range list {
		if g.Name == engine.Everybody { // it is no file's: it cannot be changed or deleted
			continue
		}
		members := []string{}
		for _, name := range g.Members {
			members = append(members, "u/"+name)
		}
		if err := c.put("groups/"+g.Name+".group.json", map[string]any{"summary": g.Summary, "members": members, "admins": []string{}}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *collected) members() error {
	list, err := c.h.people.Members(c.a.Base, c.a.Who, c.a.Workspace)
	if err != nil {
		return err
	}
	for _, m := range list {
		role := "developer"
		if m.Admin {
			role = "admin"
		}
		if err := c.put("users/"+m.Email+".user.json", map[string]any{"username": m.Username, "role": role, "disabled": false}, nil); err != nil {
			return err
		}
	}
	return nil
}
