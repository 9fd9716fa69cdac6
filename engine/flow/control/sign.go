package control

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// keySize is that of the keys that links are signed with.
const keySize = 32

// key returns the key of a workspace, which is made when it is needed first.
func (c *Control) key(ctx context.Context, ws string) ([]byte, error) {
	fresh := make([]byte, keySize)
	_, _ = rand.Read(fresh) // it never fails
	return c.cfg.Store.WorkspaceKey(ctx, ws, fresh)
}

// sign is what proves that a link was made here: for one job, one of its links, and whom it was made for.
func sign(key []byte, job uuid.UUID, resume int64, approver string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("approval\x00"))
	m.Write(job[:])
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(resume)))
	m.Write([]byte(approver))
	return hex.EncodeToString(m.Sum(nil))
}

// verify refuses a link that was not made here. What is wrong with it is nobody's business.
func (c *Control) verify(ctx context.Context, a engine.Answer) error {
	bad := &engine.Error{Code: engine.Forbidden, Op: "flow.approve", Msg: "the link is not valid"}
	key, err := c.cfg.Store.WorkspaceKey(ctx, a.Workspace, nil)
	if store.IsNotFound(err) { // nothing was ever signed there
		return bad
	}
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(sign(key, a.Job, a.ResumeID, a.Approver)), []byte(strings.ToLower(a.Signature))) {
		return bad
	}
	return nil
}

// Sign returns the signature of a link, for those who may run what the job runs.
func (c *Control) Sign(ctx context.Context, p engine.Principal, l engine.ApprovalLink) (string, error) {
	_, s, err := c.link(ctx, p, l)
	return s, err
}

// URLs returns the links of a job.
func (c *Control) URLs(ctx context.Context, p engine.Principal, l engine.ApprovalLink) (*engine.ApprovalURLs, error) {
	if l.Step != "" {
		l.ResumeID = resumeOf(l.Step)
	}
	id, signature, err := c.link(ctx, p, l)
	if err != nil {
		return nil, err
	}
	ws, tail := url.PathEscape(l.Workspace), "/"+id.String()+"/"+strconv.FormatInt(l.ResumeID, 10)+"/"+signature
	if l.Approver != "" {
		tail += "?approver=" + url.QueryEscape(l.Approver)
	}
	base := strings.TrimRight(c.cfg.Base, "/")
	return &engine.ApprovalURLs{ApprovalPage: base + "/approve/" + ws + tail, Resume: base + "/api/w/" + ws + "/jobs_u/resume" + tail,
		Cancel: base + "/api/w/" + ws + "/jobs_u/cancel" + tail}, nil
}

func (c *Control) link(ctx context.Context, p engine.Principal, l engine.ApprovalLink) (id uuid.UUID, signature string, err error) {
	v, err := c.job(ctx, l.Workspace, l.Job)
	if err != nil {
		return id, "", err
	}
	if err := c.cfg.Gate.Can(p, "run", l.Workspace, v.Path); err != nil {
		return id, "", err
	}
	root, ok, err := c.root(ctx, &v.Job)
	switch {
	case err != nil:
		return id, "", err
	case l.Step != "" && isFlow(&v.Job):
		return id, "", engine.Errorf(engine.Invalid, "flow.approve", "job %s is a flow and no workflow as code", l.Job)
	case !ok && v.Kind != engine.KindScript && v.Kind != engine.KindPreview: // any script may be a workflow as code
		return id, "", engine.Errorf(engine.Invalid, "flow.approve", "job %s belongs to no flow, so nothing waits for an approval", l.Job)
	}
	if id = l.Job; ok && l.FlowLevel {
		id = root
	}
	key, err := c.key(ctx, l.Workspace)
	if err != nil {
		return id, "", err
	}
	return id, sign(key, id, l.ResumeID, l.Approver), nil
}
