package auth

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Beginnings of secrets. They let scanners for leaked secrets find them, and us refuse strange ones without a query.
const (
	tokenMark = "mr_"
	jobMark   = "mrj_"
)

// The administrator that those who come through the socket are.
const (
	adminName  = "admin"
	adminEmail = "admin@localhost"
)

const opAuth = "authenticate"

// Authenticate says whose a secret is.
func (a *Auth) Authenticate(ctx context.Context, secret string) (engine.Principal, error) {
	switch {
	case strings.HasPrefix(secret, jobMark):
		return a.openJobToken(secret, time.Now())
	case strings.HasPrefix(secret, tokenMark) && len(secret) == tokenLen:
		return a.openToken(ctx, secret)
	}
	return engine.Principal{}, unknownToken()
}

func unknownToken() error {
	return &engine.Error{Code: engine.Unauthorized, Op: opAuth, Msg: "no such token",
		Hint: "'millrace token create' on the host makes one"}
}

func (a *Auth) openToken(ctx context.Context, secret string) (engine.Principal, error) {
	hash, now := sha256.Sum256([]byte(secret)), time.Now()
	p, epoch, ok := a.known.get(hash, now)
	if ok {
		return p, nil
	}
	t, err := a.cfg.DB.TokenByHash(ctx, hash[:])
	if store.IsNotFound(err) {
		return engine.Principal{}, unknownToken()
	}
	if err != nil {
		return engine.Principal{}, failed(opAuth, err)
	}
	if t.ExpiresAt != nil && !now.Before(*t.ExpiresAt) {
		return engine.Principal{}, &engine.Error{Code: engine.Unauthorized, Op: opAuth, Msg: "the token expired at " + t.ExpiresAt.UTC().Format(time.RFC3339),
			Hint: "'millrace token create' on the host makes a new one"}
	}
	p = engine.Principal{Username: t.Username, Email: t.Email, Admin: t.Admin, Workspace: t.Workspace, Via: "token"}
	a.known.put(hash, p, now, t.ExpiresAt, epoch)
	if t.LastUsed == nil || now.Sub(*t.LastUsed) > time.Minute {
		select {
		case a.used <- hash:
		default: // so busy that the next look will do
		}
	}
	return p, nil
}

// Socket says who the user at the other end of the daemon's Unix socket is.
func (a *Auth) Socket(uid uint32) (engine.Principal, error) {
	if uid == 0 || uid == a.uid {
		return engine.Principal{Username: adminName, Email: adminEmail, Admin: true, Via: "socket"}, nil
	}
	return engine.Principal{}, &engine.Error{Code: engine.Unauthorized, Op: opAuth, Msg: "this user is not the daemon's",
		Hint: "use sudo, or a token: --token or MILLRACE_TOKEN"}
}

// known believes in tokens for a while. A hit takes a read lock and allocates nothing.
type known struct {
	life time.Duration

	mu    sync.RWMutex
	epoch uint64 // counts clears
	m     map[[32]byte]believed
}

type believed struct {
	p     engine.Principal
	until time.Time
}

const maxKnown = 4096

func (k *known) get(hash [32]byte, now time.Time) (engine.Principal, uint64, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	b, ok := k.m[hash]
	return b.p, k.epoch, ok && now.Before(b.until)
}

// put remembers p unless something was dropped since epoch.
func (k *known) put(hash [32]byte, p engine.Principal, now time.Time, expires *time.Time, epoch uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if epoch != k.epoch {
		return
	}
	if k.m == nil || len(k.m) >= maxKnown {
		k.m = map[[32]byte]believed{}
	}
	until := now.Add(k.life)
	if expires != nil && expires.Before(until) {
		until = *expires
	}
	k.m[hash] = believed{p, until}
}

func (k *known) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch++
	clear(k.m)
}
