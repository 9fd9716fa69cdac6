// Package web is the HTTP front of the daemon: it listens on a TCP address and on a Unix socket and serves the API, its
// OpenAPI document, the manual and a landing page. It knows HTTP and nothing of how jobs run: it asks the interfaces of
// web/api.
//
//	New -> Start -> serving -> Stop (drain streams, finish requests until the deadline, cut the rest)
package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/millrace/millrace/web/api"
	"github.com/millrace/millrace/web/docs"
	"github.com/millrace/millrace/web/session"
)

// Config says where to listen and whom to ask. At least one of Listen and Socket, and all interfaces, must be given.
type Config struct {
	Listen  string            // TCP address, "127.0.0.1:8000"; port 0 picks one; "" is no TCP
	Bound   net.Listener      // when that address is bound already; the server closes it
	Socket  string            // path of the Unix socket; "" is none
	Version string            // of Millrace
	Endings map[string]string // of source files, by language

	Auth       api.Authenticator
	Jobs       api.Jobs
	FlowRuns   api.FlowRuns
	Scripts    api.Scripts
	Flows      api.Flows
	Schedules  api.Schedules
	Batches    api.Batches
	Values     api.Values
	Tokens     api.Tokens
	Workspaces api.Workspaces
	People     api.People
	Health     api.Health
	Metrics    api.Metrics // nil: only the front's own

	UI          fasthttp.RequestHandler // answers what is neither API nor manual; nil: the landing page at / and 404
	MaxBody     int                     // bytes of a request's body; zero: 64 MiB
	WaitTimeout time.Duration           // how long run_wait_result waits; zero: 60 s
	Log         zerolog.Logger
}

// Limits of connections. Event streams extend the write timeout while their client reads.
const (
	defaultMaxBody = 64 << 20
	readTimeout    = 2 * time.Minute // of one request, body included
	writeTimeout   = 2 * time.Minute // of one answer
	idleTimeout    = 5 * time.Minute // between two requests of a connection
	headerSize     = 32 << 10        // of a request's head; job ids, tokens and payloads fit
	maxConnections = 16384
)

// Server serves until it is stopped. Start and Stop may be called once each.
type Server struct {
	cfg      Config
	api      *api.API
	http     *fasthttp.Server
	conns    *connections
	giveUp   context.CancelFunc // ends the context of all requests
	lns      []net.Listener     // written by Start
	lock     *socketLock        // written by Start
	unhook   func() bool        // written by Start
	serving  sync.WaitGroup     // the accept loops
	stopping chan struct{}      // closed when Stop begins
	stopOnce sync.Once
	stopErr  error
}

// New checks cfg and builds a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.Listen == "" && cfg.Socket == "" {
		return nil, errors.New("web: neither Listen nor Socket is set")
	}
	if cfg.MaxBody < 0 {
		return nil, errors.New("web: MaxBody is negative")
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	base, giveUp := context.WithCancel(context.Background())
	a, err := api.New(api.Config{Auth: cfg.Auth, Jobs: cfg.Jobs, FlowRuns: cfg.FlowRuns, Scripts: cfg.Scripts, Flows: cfg.Flows, Schedules: cfg.Schedules, Batches: cfg.Batches, Values: cfg.Values, Tokens: cfg.Tokens,
		Workspaces: cfg.Workspaces, People: cfg.People, Health: cfg.Health, Metrics: cfg.Metrics, Version: cfg.Version, Endings: cfg.Endings,
		WaitTimeout: cfg.WaitTimeout, Base: base, Log: cfg.Log})
	if err != nil {
		giveUp()
		return nil, err
	}
	s := &Server{cfg: cfg, api: a, giveUp: giveUp, conns: &connections{open: map[*conn]struct{}{}}, stopping: make(chan struct{})}
	handler, err := s.routes()
	if err != nil {
		giveUp()
		return nil, err
	}
	s.http = &fasthttp.Server{
		Handler:               s.guard(s.withBody(handler)),
		ErrorHandler:          s.unreadable,
		Name:                  "millrace",
		Concurrency:           maxConnections,
		MaxRequestBodySize:    cfg.MaxBody,
		StreamRequestBody:     true, // withBody reads it
		ReadBufferSize:        headerSize,
		ReadTimeout:           readTimeout,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		NoDefaultServerHeader: false,
		CloseOnShutdown:       true,
		Logger:                quiet{cfg.Log},
	}
	return s, nil
}

// routes binds everything that is served.
func (s *Server) routes() (fasthttp.RequestHandler, error) {
	r := router.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath = false, false // an API answers what was asked or says no
	manual, err := docs.New()
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	pages, err := s.pages(manual)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s.api.Mount(r, append(s.api.Routes(), pages...))
	r.NotFound = s.notFound
	r.MethodNotAllowed = func(ctx *fasthttp.RequestCtx) {
		api.Text(ctx, fasthttp.StatusMethodNotAllowed, "Method not allowed: "+string(ctx.Method())+" is not possible here")
	}
	return r.Handler, nil
}

// Start listens and serves in the background. When it fails nothing is left behind. ctx is the life of the daemon:
// when it ends, requests are given up, but Stop must still be called.
func (s *Server) Start(ctx context.Context) error {
	if s.cfg.Socket != "" {
		ln, lock, err := listenUnix(s.cfg.Socket)
		if err != nil {
			return fmt.Errorf("web: %w", err)
		}
		s.lock = lock
		s.lns = append(s.lns, &listener{Listener: ln, all: s.conns})
	}
	if s.cfg.Listen != "" {
		ln, err := s.cfg.Bound, error(nil)
		if ln == nil {
			ln, err = net.Listen("tcp", s.cfg.Listen)
		}
		if err != nil {
			for _, l := range s.lns {
				err = errors.Join(err, l.Close())
			}
			s.lock.release()
			return fmt.Errorf("web: listen: %w", err)
		}
		s.lns = append(s.lns, &listener{Listener: ln, all: s.conns})
	}
	s.unhook = context.AfterFunc(ctx, s.giveUp)
	for _, ln := range s.lns {
		s.serving.Go(func() {
			if err := s.http.Serve(ln); err != nil {
				s.cfg.Log.Error().Err(err).Stringer("addr", ln.Addr()).Msg("stopped accepting connections")
			}
		})
	}
	return nil
}

// Addr is the TCP address that is listened on, "" without one. It is valid after Start.
func (s *Server) Addr() string {
	for _, ln := range s.lns {
		if ln.Addr().Network() == "tcp" {
			return ln.Addr().String()
		}
	}
	return ""
}

// Stop stops accepting, ends event streams and lets requests finish until ctx ends; then it gives them up and cuts what
// is still connected. It returns ctx's error when something had to be cut. It is idempotent and safe unstarted.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

// Drained answers requests that wait for results with what is known: no job runs here any more that could bring one. It is for a server
// that stops: otherwise they are waited for until the end of Stop's context.
func (s *Server) Drained() { s.api.Drained() }

// lastWords is what requests get to answer that they were given up.
const lastWords = time.Second

func (s *Server) stop(ctx context.Context) error {
	defer s.giveUp()
	close(s.stopping)
	if s.unhook == nil {
		return nil
	}
	s.unhook()
	s.api.Drain()
	// First the accept loops: fasthttp does not know of a listener before its loop runs, and would leave it open.
	for _, ln := range s.lns {
		_ = ln.Close() // fasthttp closes it again and reports the error
	}
	s.serving.Wait()
	err := s.http.ShutdownWithContext(ctx)
	if ctx.Err() != nil {
		s.giveUp()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		if s.http.ShutdownWithContext(last) != nil {
			s.conns.cut()
		}
		err = ctx.Err()
	}
	s.lock.release()
	if err != nil {
		return fmt.Errorf("web: stop: %w", err)
	}
	return nil
}

// Routes is everything that is served, for documents and tests.
func (s *Server) Routes() []api.Route {
	return append(s.api.Routes(), s.pageRoutes(nil, nil)...)
}

// Handler answers requests without a listener, for tests and for embedding.
func (s *Server) Handler() fasthttp.RequestHandler { return s.http.Handler }

// guard wraps every request: an id, a panic that ends only itself, the access log, the count.
func (s *Server) guard(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		began := time.Now()
		id := session.RequestID(ctx)
		defer func() {
			if r := recover(); r != nil {
				s.cfg.Log.Error().Str("request", id).Interface("panic", r).Bytes("stack", debug.Stack()).Msg("request panicked")
				ctx.Response.Reset()
				api.Text(ctx, fasthttp.StatusInternalServerError, "Internal error: request "+id+" failed; the daemon's log says why")
			}
			ctx.Response.Header.Set("X-Request-Id", id)
			ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
			s.api.Count(ctx.Response.StatusCode())
			if s.cfg.Log.GetLevel() > zerolog.DebugLevel {
				return
			}
			// Never the query: it may hold a token.
			s.cfg.Log.Debug().Str("request", id).Bytes("method", ctx.Method()).Bytes("path", ctx.Path()).
				Int("status", ctx.Response.StatusCode()).Dur("took", time.Since(began)).Stringer("from", ctx.RemoteAddr()).Msg("request")
		}()
		next(ctx)
	}
}

// unreadable answers requests that could not be read.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	s.refuse(ctx, err)
	s.api.Count(ctx.Response.StatusCode())
	s.cfg.Log.Debug().Err(err).Int("status", ctx.Response.StatusCode()).Stringer("from", ctx.RemoteAddr()).Msg("unreadable request")
}

// refuse says why a request could not be read.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	status, text := fasthttp.StatusBadRequest, "Bad request: the request is not HTTP that can be read"
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status = fasthttp.StatusRequestEntityTooLarge
		text = fmt.Sprintf("Too large: the body is over %d MiB (put large data into a file or a database and pass where it is)", s.cfg.MaxBody>>20)
		s.partWays(ctx)
	case errors.As(err, &small):
		status, text = fasthttp.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("Too large: the request's head is over %d KiB", headerSize>>10)
	case errors.As(err, &network) && network.Timeout():
		status, text = fasthttp.StatusRequestTimeout, "Timeout: the request did not arrive in time"
	}
	api.Text(ctx, status, text)
}

// quiet sends fasthttp's own messages, mostly about clients that went away, to the debug log.
type quiet struct{ log zerolog.Logger }

func (q quiet) Printf(format string, args ...any) { q.log.Debug().Msgf(format, args...) }
