package cli

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// shownContacts is how many lines of what a job contacted are printed.
const shownContacts = 20

// describeContacts prints what a job contacted, refused attempts under a name of their own.
func (c *call) describeContacts(ctx context.Context, cl *client.Client, id uuid.UUID) error {
	list, err := cl.Contacts(ctx, id)
	if client.IsNotFound(err) {
		return nil // the job was shown a moment ago: a daemon older than this command does not know
	}
	if err != nil {
		return err
	}
	for i, x := range list {
		if i == shownContacts {
			fmt.Fprintf(c.stdout, "%-10s %d more; the API has them all\n", "", len(list)-i)
			break
		}
		name, times := "contacted", ""
		switch {
		case x.Refused:
			name = "refused"
		case x.Address == "":
			name = "resolved"
		}
		if x.Count > 1 {
			times = fmt.Sprintf(", %d times", x.Count)
		}
		text := x.String()
		if x.Protocol == "more" {
			text = "more than the record holds"
		}
		fmt.Fprintf(c.stdout, "%-10s %s%s\n", name, text, times)
	}
	return nil
}
