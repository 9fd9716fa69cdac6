// Package auth says who asks and what they may do.
//
// Who (Authenticate, Socket):
//
//	mr_...   an API token: 256 random bits, shown once; only their sha256 is stored, so a stolen database opens nothing
//	mrj_...  a job's token: signed, not stored; names job, workspace, user and end of validity
//	a uid    of the other end of the Unix socket: root and the daemon's own user are administrators, others need a token
//
// What (Can): the only gate. There is no other rule than these, from the first that fits:
//
//	the workspace is unknown                    no, NotFound
//	a token bound to another workspace          no
//	an administrator of the instance            everything
//	a job's token                               read and run, in its workspace
//	an administrator of the workspace           everything in it
//	a member of it, or a token bound to it      read and run everything; write u/<own name>/...
//	anybody else                                no
//
// Groups give no right of their own: they say who is meant, such as who may approve a step of a flow (GroupsOf).
//
// Workspaces, members and groups are small and held in memory; channel "auth" tells of changes.
package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store"
)

// Config wires an Auth.
type Config struct {
	DB  *store.DB
	Log zerolog.Logger
	// DaemonUID is who counts as the daemon's own user on the socket. Nil: the user of this process.
	DaemonUID *uint32
	// Remember is how long a token is believed without asking the database. Zero: 10 s. A deletion is heard of at once.
	Remember time.Duration
	// JobLife is how long the token of a job without a timeout is valid. Zero: 24 h.
	JobLife time.Duration
}

// Auth is safe for concurrent use between Start and Stop.
type Auth struct {
	cfg   Config
	uid   uint32
	key   []byte // signs the tokens of jobs; written by Start
	macs  sync.Pool
	known known
	house atomic.Pointer[house] // written by load
	// loading is held by load.
	loading sync.Mutex
	used    chan [32]byte // tokens whose use is to be noted

	stop context.CancelFunc // written by Start
	done sync.WaitGroup
}

// New returns an Auth that lets nobody in before Start.
func New(cfg Config) (*Auth, error) {
	if cfg.DB == nil {
		return nil, engine.Errorf(engine.Invalid, "auth.new", "DB is needed")
	}
	if cfg.Remember <= 0 {
		cfg.Remember = 10 * time.Second
	}
	if cfg.JobLife <= 0 {
		cfg.JobLife = 24 * time.Hour
	}
	a := &Auth{cfg: cfg, uid: uint32(os.Geteuid()), used: make(chan [32]byte, 64)}
	if cfg.DaemonUID != nil {
		a.uid = *cfg.DaemonUID
	}
	a.house.Store(&house{})
	a.known.life = cfg.Remember
	return a, nil
}

// Start loads workspaces and keys and follows their changes.
func (a *Auth) Start(ctx context.Context) error {
	fresh := make([]byte, 32)
	rand.Read(fresh)
	key, err := a.cfg.DB.InstanceKey(ctx, "job-token", fresh)
	if err != nil {
		return fmt.Errorf("start auth: %w", err)
	}
	sub, err := a.cfg.DB.Listen(ctx, store.AuthChannel, nil)
	if err != nil {
		return fmt.Errorf("start auth: %w", err)
	}
	if err := a.load(ctx); err != nil {
		sub.Close()
		return fmt.Errorf("start auth: %w", err)
	}
	a.key = key
	ctx, a.stop = context.WithCancel(context.Background())
	a.done.Go(func() { a.follow(ctx, sub) })
	a.done.Go(func() { a.note(ctx) })
	return nil
}

// Stop ends Start's work. It is idempotent and safe unstarted.
func (a *Auth) Stop() {
	if a.stop != nil {
		a.stop()
	}
	a.done.Wait()
}

// follow drops and reloads what changed. A reload that fails is tried again.
func (a *Auth) follow(ctx context.Context, sub *store.Subscription) {
	defer sub.Close()
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	for {
		reload := false
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
			reload = true
		case n := <-sub.C:
			if n.Missed || n.Payload == "token" {
				a.known.clear()
			}
			reload = n.Missed || n.Payload == "workspace"
		}
		if !reload {
			continue
		}
		if err := a.load(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Log.Warn().Err(err).Msg("read workspaces and members")
			retry.Reset(time.Second)
		}
	}
}

// note writes down, some time, that tokens were used.
func (a *Auth) note(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case hash := <-a.used:
			if err := a.cfg.DB.TokenTouch(ctx, hash[:]); err != nil && ctx.Err() == nil {
				a.cfg.Log.Warn().Err(err).Msg("note the use of a token")
			}
		}
	}
}

// failed gives an error of the store its code.
func failed(op string, err error) error {
	code := engine.Internal
	if store.IsUnavailable(err) {
		code = engine.Unavailable
	}
	return &engine.Error{Code: code, Op: op, Err: err}
}
