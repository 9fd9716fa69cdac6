package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// RestartFlow runs a flow that has ended again from one of its steps on, and returns the new job's id.
func (c *Client) RestartFlow(ctx context.Context, id uuid.UUID, r wire.Restart) (uuid.UUID, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("encode request: %w", err)
	}
	return c.newID(ctx, call{method: http.MethodPost, path: c.here("/jobs/restart/f/" + id.String()), body: b})
}

// ResumeFlow approves what a flow or workflow waits for; it sees payload, a JSON value or nothing.
func (c *Client) ResumeFlow(ctx context.Context, id uuid.UUID, payload json.RawMessage) error {
	return c.AnswerFlow(ctx, id, payload, true)
}

// AnswerFlow approves or denies it.
func (c *Client) AnswerFlow(ctx context.Context, id uuid.UUID, payload json.RawMessage, approved bool) error {
	_, err := c.post(ctx, c.here("/jobs_u/flow/resume_suspended/"+id.String()), nil, wire.ResumeBody{Payload: payload, Approved: &approved})
	return err
}

// ResumeURLs makes the links by which somebody answers a flow that waits for approval; the job is that of the step which asks.
func (c *Client) ResumeURLs(ctx context.Context, job uuid.UUID, resumeID uint32, approver string) (*engine.ApprovalURLs, error) {
	q := url.Values{}
	if approver != "" {
		q.Set("approver", approver)
	}
	var urls engine.ApprovalURLs
	path := "/jobs/resume_urls/" + job.String() + "/" + strconv.FormatUint(uint64(resumeID), 10)
	if err := c.get(ctx, c.here(path), q, &urls); err != nil {
		return nil, err
	}
	return &urls, nil
}
