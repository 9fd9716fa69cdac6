package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// A job's token is jobMark and the base64url of
//
//	version 1 | job id (16) | end of validity, unix seconds (8, big-endian) | 3 x (length (2), text): workspace, username, email | HMAC-SHA256 (32)
const (
	jobVersion = 1
	jobHead    = 1 + 16 + 8
)

// grace is added to a job's timeout: it may still report while it is being ended.
const grace = 10 * time.Minute

// JobToken is the secret with which j may ask the API on behalf of the one it runs as. It is "" before Start.
func (a *Auth) JobToken(j *engine.Job) string {
	if a.key == nil {
		return ""
	}
	life := a.cfg.JobLife
	if j.Timeout > 0 {
		life = j.Timeout + grace
	}
	return jobMark + base64.RawURLEncoding.EncodeToString(a.sign(jobClaims{
		id: j.ID, end: time.Now().Add(life).Unix(), workspace: j.Workspace, username: runsAs(j), email: j.Email}))
}

func runsAs(j *engine.Job) string {
	if name, ok := strings.CutPrefix(j.PermissionedAs, "u/"); ok {
		return name
	}
	return j.CreatedBy
}

type jobClaims struct {
	id                         uuid.UUID
	end                        int64
	workspace, username, email string
}

func (a *Auth) sign(c jobClaims) []byte {
	b := make([]byte, 0, jobHead+6+len(c.workspace)+len(c.username)+len(c.email)+sha256.Size)
	b = append(b, jobVersion)
	b = append(b, c.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.end))
	for _, s := range []string{c.workspace, c.username, c.email} {
		s = s[:min(len(s), 1<<16-1)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	m := a.mac()
	defer a.macs.Put(m)
	m.Write(b)
	return m.Sum(b)
}

// mac returns a hash with the key, most likely one that was used before: to make one anew costs more than to sign with it.
func (a *Auth) mac() hash.Hash {
	if m, ok := a.macs.Get().(hash.Hash); ok {
		m.Reset()
		return m
	}
	return hmac.New(sha256.New, a.key)
}

// openJobToken believes nothing of the token before its signature is checked.
func (a *Auth) openJobToken(secret string, now time.Time) (engine.Principal, error) {
	b, err := base64.RawURLEncoding.DecodeString(secret[len(jobMark):])
	if err != nil || len(b) < jobHead+6+sha256.Size || a.key == nil {
		return engine.Principal{}, unknownToken()
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	m := a.mac()
	defer a.macs.Put(m)
	m.Write(body)
	if !hmac.Equal(m.Sum(nil), sum) {
		return engine.Principal{}, unknownToken()
	}
	c, err := readClaims(body)
	if err != nil {
		return engine.Principal{}, unknownToken()
	}
	if now.Unix() >= c.end {
		return engine.Principal{}, &engine.Error{Code: engine.Unauthorized, Op: opAuth, Path: c.id.String(), Msg: "the token of this job has expired",
			Hint: "it is meant for the job itself; others use a token of their own"}
	}
	return engine.Principal{Username: c.username, Email: c.email, Workspace: c.workspace, Via: "job", JobID: c.id.String()}, nil
}

var errClaims = errors.New("not the claims of a job")

func readClaims(b []byte) (c jobClaims, err error) {
	if len(b) < jobHead || b[0] != jobVersion {
		return c, errClaims
	}
	copy(c.id[:], b[1:17])
	c.end = int64(binary.BigEndian.Uint64(b[17:jobHead]))
	b = b[jobHead:]
	for _, s := range []*string{&c.workspace, &c.username, &c.email} {
		if len(b) < 2 {
			return c, errClaims
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return c, errClaims
		}
		*s, b = string(b[2:2+n]), b[2+n:]
	}
	if len(b) != 0 || c.workspace == "" {
		return c, errClaims
	}
	return c, nil
}
