// Package session says who asks: it reads the credentials of one HTTP request and has them judged by an Authenticator.
//
// Order, first found wins and a wrong one is not forgiven by a later one:
//
//	Authorization: Bearer SECRET
//	?token=SECRET                  (webhooks that cannot set headers)
//	Cookie: token=SECRET           (ignored on requests that a foreign site started)
//	the job that runs in the slot, on a connection from inside of one
//	the peer's uid, on the Unix socket
package session

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/engine"
)

// Authenticator judges credentials. Both methods return an error with code Unauthorized for strangers.
type Authenticator interface {
	Authenticate(ctx context.Context, secret string) (engine.Principal, error)
	Socket(uid uint32) (engine.Principal, error)
}

// Peer is implemented by connections whose other end the kernel vouches for.
type Peer interface {
	PeerUID() (uid uint32, known bool)
}

// Guest is implemented by connections that come from inside of a slot: only the job that runs there can have made them.
type Guest interface {
	Visitor() (v engine.Visitor, known bool)
}

// Resolver finds the Principal of a request. It holds no state and is safe for concurrent use.
type Resolver struct {
	auth Authenticator
}

// New returns a Resolver that asks auth.
func New(auth Authenticator) *Resolver { return &Resolver{auth: auth} }

// Who returns who sent the request; base bounds the look-up. The error always carries an engine.Code.
func (r *Resolver) Who(base context.Context, ctx *fasthttp.RequestCtx) (engine.Principal, error) {
	if secret := secretOf(ctx); secret != "" {
		p, err := r.auth.Authenticate(base, secret)
		return p, refused(err)
	}
	if guest, ok := ctx.Conn().(Guest); ok {
		if v, known := guest.Visitor(); known {
			p, err := r.auth.Authenticate(base, v.Token)
			return p, refused(err)
		}
	}
	if peer, ok := ctx.Conn().(Peer); ok {
		if uid, known := peer.PeerUID(); known {
			p, err := r.auth.Socket(uid)
			return p, refused(err)
		}
	}
	return engine.Principal{}, &engine.Error{Code: engine.Unauthorized, Op: "session", Msg: "no credentials",
		Hint: "send 'Authorization: Bearer TOKEN'; 'millrace token create' on the host makes one"}
}

// Claims tells whether the request brings credentials, which are then to be right.
func (r *Resolver) Claims(ctx *fasthttp.RequestCtx) bool { return secretOf(ctx) != "" }

// refused keeps errors that say what they are and turns nameless ones into Unauthorized: a doubt never lets in.
func refused(err error) error {
	var e *engine.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &engine.Error{Code: engine.Internal, Op: "session", Msg: "credentials could not be checked", Err: err}
}

var bearer = []byte("bearer ")

// secretOf copies: the Authenticator may keep the secret's hash input longer than the request's buffers live.
func secretOf(ctx *fasthttp.RequestCtx) string {
	if h := ctx.Request.Header.Peek(fasthttp.HeaderAuthorization); len(h) > len(bearer) &&
		bytes.EqualFold(h[:len(bearer)], bearer) {
		return strings.TrimSpace(string(h[len(bearer):]))
	}
	if q := ctx.QueryArgs().Peek("token"); len(q) > 0 {
		return string(q)
	}
	if c := ctx.Request.Header.Cookie("token"); len(c) > 0 && !foreign(ctx) {
		return string(c)
	}
	return ""
}

// foreign tells requests that another site made the browser send: their cookies prove nothing.
func foreign(ctx *fasthttp.RequestCtx) bool {
	if site := string(ctx.Request.Header.Peek("Sec-Fetch-Site")); site != "" {
		return site != "same-origin" && site != "none"
	}
	origin := ctx.Request.Header.Peek("Origin")
	if len(origin) == 0 {
		return false
	}
	u, err := url.Parse(string(origin))
	return err != nil || !strings.EqualFold(u.Host, string(ctx.Host()))
}
