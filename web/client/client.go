// Package client talks to a Millrace daemon over HTTP: by TCP with a token, or through the Unix socket of the host, where
// the kernel says who asks. It uses the standard library only, and is what the command line and the benchmarks use.
//
// Every method takes a context and returns *Error when the daemon answers with another status than success.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says where the daemon is. Server or Socket must be given; Socket wins.
type Config struct {
	Server    string // "http://127.0.0.1:8000"
	Socket    string // path of the daemon's Unix socket
	Token     string // needed over TCP
	Workspace string // "": main
	Name      string // sent as X-Millrace-Client: "cli", "bench"
}

// Client is safe for concurrent use. It keeps connections open; Close lets them go.
type Client struct {
	base      string // "http://host:port"
	token     string
	workspace string
	name      string
	http      *http.Client
}

// Error is an answer that is not success.
type Error struct {
	Status int
	Body   string // one line of text, or the JSON of a failed run
	Method string
	Path   string
}

func (e *Error) Error() string {
	if s := strings.TrimSpace(e.Body); s != "" {
		return s
	}
	return fmt.Sprintf("%s %s: status %d", e.Method, e.Path, e.Status)
}

// IsNotFound tells whether err is the daemon's answer 404.
func IsNotFound(err error) bool { return status(err) == http.StatusNotFound }

// IsUnauthorized tells whether err is the daemon's answer 401.
func IsUnauthorized(err error) bool { return status(err) == http.StatusUnauthorized }

func status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// New returns a client; it does not connect yet.
func New(cfg Config) (*Client, error) {
	c := &Client{token: cfg.Token, workspace: cfg.Workspace, name: cfg.Name}
	if c.workspace == "" {
		c.workspace = "main"
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	// As many idle connections as there may be callers: a benchmark's clients must not wait for handshakes.
	transport := &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, IdleConnTimeout: time.Minute,
		DisableCompression: true, DialContext: dialer.DialContext, Proxy: http.ProxyFromEnvironment}
	switch {
	case cfg.Socket != "":
		c.base = "http://millrace"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", cfg.Socket)
		}
	case cfg.Server != "":
		u, err := url.Parse(cfg.Server)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("client: server %q is not a URL like http://host:8000", cfg.Server)
		}
		c.base = strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/")
	default:
		return nil, errors.New("client: neither Server nor Socket is set")
	}
	c.http = &http.Client{Transport: transport}
	return c, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Workspace is the workspace that the client works in.
func (c *Client) Workspace() string { return c.workspace }

// call is one request.
type call struct {
	method string
	path   string // "/api/..."; segments escaped
	query  url.Values
	body   []byte // JSON
	header http.Header
	stream io.Reader // instead of body; header says what it is
}

// here makes a path inside the workspace.
func (c *Client) here(path string) string { return "/api/w/" + url.PathEscape(c.workspace) + path }

// segments escapes a path but keeps its slashes.
func segments(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	u := c.base + k.path
	if len(k.query) > 0 {
		u += "?" + k.query.Encode()
	}
	body := k.stream
	if body == nil {
		body = bytes.NewReader(k.body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u, body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.name != "" {
		req.Header.Set("X-Millrace-Client", c.name)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may be long and says nothing new
		}
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		return nil, &Error{Status: resp.StatusCode, Body: string(b), Method: k.method, Path: k.path}
	}
	return resp, nil
}

// bytes returns the answer's body.
func (c *Client) bytes(ctx context.Context, k call) ([]byte, error) {
	resp, err := c.send(ctx, k)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return b, nil
}

// text returns the answer's body as text.
func (c *Client) text(ctx context.Context, k call) (string, error) {
	b, err := c.bytes(ctx, k)
	return string(b), err
}

// get decodes the answer of a GET into v.
func (c *Client) get(ctx context.Context, path string, q url.Values, v any) error {
	b, err := c.bytes(ctx, call{method: http.MethodGet, path: path, query: q})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode answer of %s: %w", path, err)
	}
	return nil
}

// post encodes v and returns the answer's text.
func (c *Client) post(ctx context.Context, path string, q url.Values, v any) (string, error) {
	var body []byte
	if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("encode request: %w", err)
		}
		body = b
	}
	return c.text(ctx, call{method: http.MethodPost, path: path, query: q, body: body})
}
