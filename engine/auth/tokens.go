package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

const (
	tokenLen  = len(tokenMark) + 43 // 256 bits in base64url
	prefixLen = 10                  // of the secret, to name it by: 42 random bits, of 256
	maxLabel  = 200
)

// Tokens makes, lists and deletes API tokens.
type Tokens struct{ a *Auth }

// Tokens returns the API tokens.
func (a *Auth) Tokens() *Tokens { return &Tokens{a} }

// Create makes a token of p's own, or for an administrator of the instance one of a member. It never gives more than p has, and a job's
// token cannot make others. The secret is returned this once and is stored nowhere.
func (t *Tokens) Create(ctx context.Context, p engine.Principal, r engine.TokenRequest) (secret string, made engine.Token, err error) {
	const op = "token.create"
	if err := t.check(op, p, &r); err != nil {
		return "", made, err
	}
	if r.For != "" {
		if p, err = t.member(ctx, op, p, r); err != nil {
			return "", made, err
		}
	}
	for range 3 { // a prefix is taken once in 2^42
		raw := make([]byte, 32)
		rand.Read(raw)
		secret = tokenMark + base64.RawURLEncoding.EncodeToString(raw)
		made = engine.Token{Prefix: secret[:prefixLen], Label: r.Label, Username: p.Username, Email: p.Email, Admin: r.Admin && p.Admin && r.For == "",
			Workspace: r.Workspace, ExpiresAt: r.ExpiresAt}
		hash := sha256.Sum256([]byte(secret))
		if made.CreatedAt, err = t.a.cfg.DB.TokenInsert(ctx, hash[:], made); err == nil {
			return secret, made, nil
		}
		if !store.IsConflict(err, "") {
			break
		}
	}
	if store.IsUnknownReference(err) {
		return "", engine.Token{}, &engine.Error{Code: engine.NotFound, Op: op, Msg: "there is no workspace " + r.Workspace}
	}
	return "", engine.Token{}, failed(op, err)
}

func (t *Tokens) check(op string, p engine.Principal, r *engine.TokenRequest) error {
	if p.Username == "" || p.Via == "job" {
		return &engine.Error{Code: engine.Forbidden, Op: op, Msg: "a job's token cannot make tokens"}
	}
	if p.Workspace != "" {
		if r.Workspace != "" && r.Workspace != p.Workspace {
			return &engine.Error{Code: engine.Forbidden, Op: op, Msg: "this token is bound to workspace " + p.Workspace + ", and so are those it makes"}
		}
		r.Workspace = p.Workspace
	}
	if r.Workspace != "" {
		if err := engine.CheckWorkspace(op, r.Workspace); err != nil {
			return err
		}
		if err := t.a.Can(p, Read, r.Workspace, ""); err != nil {
			return err
		}
	}
	if len(r.Label) > maxLabel || !utf8.ValidString(r.Label) || strings.ContainsRune(r.Label, 0) {
		return &engine.Error{Code: engine.Invalid, Op: op, Msg: fmt.Sprintf("label is not text of at most %d bytes", maxLabel)}
	}
	if r.ExpiresAt != nil && !r.ExpiresAt.After(time.Now()) {
		return &engine.Error{Code: engine.Invalid, Op: op, Msg: "expiration is in the past"}
	}
	return nil
}

// member is whose token p makes for somebody else.
func (t *Tokens) member(ctx context.Context, op string, p engine.Principal, r engine.TokenRequest) (engine.Principal, error) {
	if err := t.a.Can(p, Admin, "", ""); err != nil {
		return p, err
	}
	m, err := t.a.cfg.DB.MemberByEmail(ctx, r.For, r.Workspace)
	if store.IsNotFound(err) {
		return p, &engine.Error{Code: engine.NotFound, Op: op, Path: r.For, Msg: "nobody with this email is a member", Hint: "'millrace member list' shows who is"}
	}
	if err != nil {
		return p, failed(op, err)
	}
	return engine.Principal{Username: m.Username, Email: m.Email}, nil
}

// List returns the tokens p may see, the oldest first: an administrator of the instance all, others their own. A token bound
// to a workspace shows those bound to it.
func (t *Tokens) List(ctx context.Context, p engine.Principal) ([]engine.Token, error) {
	const op = "token.list"
	user, err := scope(op, p)
	if err != nil {
		return nil, err
	}
	list, err := t.a.cfg.DB.TokenList(ctx, user)
	if err != nil {
		return nil, failed(op, err)
	}
	out := []engine.Token{}
	for _, tok := range list {
		if p.Workspace == "" || p.Workspace == tok.Workspace {
			out = append(out, tok)
		}
	}
	return out, nil
}

// Delete makes the token with this prefix worthless at once: one of p's own, or for an administrator any.
func (t *Tokens) Delete(ctx context.Context, p engine.Principal, prefix string) error {
	const op = "token.delete"
	list, err := t.List(ctx, p)
	if err != nil {
		return err
	}
	for _, tok := range list {
		if tok.Prefix != prefix {
			continue
		}
		done, err := t.a.cfg.DB.TokenDelete(ctx, prefix, "")
		if err != nil {
			return failed(op, err)
		}
		if done {
			t.a.known.clear()
			return nil
		}
	}
	// The prefix is not repeated: people paste whole secrets here.
	return &engine.Error{Code: engine.NotFound, Op: op, Msg: "no token of yours has this prefix", Hint: "'millrace token list' shows them"}
}

// scope is whose tokens p may see; "" is everybody's.
func scope(op string, p engine.Principal) (string, error) {
	switch {
	case p.Username == "" || p.Via == "job":
		return "", &engine.Error{Code: engine.Forbidden, Op: op, Msg: "a job's token has nothing to do with tokens"}
	case p.Admin && p.Workspace == "":
		return "", nil
	}
	return p.Username, nil
}
