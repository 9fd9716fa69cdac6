package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"

	"github.com/millrace/millrace/web/client"
)

// connection is where the daemon is, as the flags say.
type connection struct {
	server, token, socket, workspace string
	described                        string // what was connected to, for errors
	overTCP                          bool
}

// connects registers the flags of every command that asks the daemon.
func (c *call) connects() {
	c.flags.StringVar(&c.to.server, "server", "", "`URL` of a daemon elsewhere (or MILLRACE_SERVER)")
	c.flags.StringVar(&c.to.token, "token", "", "`token` for --server (or MILLRACE_TOKEN, which other users of this host can not see)")
	c.flags.StringVar(&c.to.socket, "socket", "", "`path` of the local daemon's socket (or MILLRACE_SOCKET)")
	c.flags.StringVar(&c.to.workspace, "workspace", c.or("MILLRACE_WORKSPACE", "main"), "`workspace` to work in (or MILLRACE_WORKSPACE)")
}

func (c *call) or(name, value string) string {
	if v := c.env(name); v != "" {
		return v
	}
	return value
}

// usualSockets are the sockets of daemons started without --data: from a checkout by make run, by this user, by root or
// the package.
func (c *call) usualSockets() []string {
	dirs := []string{".data"}
	if home := c.env("HOME"); home != "" {
		dirs = append(dirs, filepath.Join(home, ".local", "share", "millrace"))
	}
	dirs = append(dirs, "/var/lib/millrace")
	var out []string
	for _, d := range dirs {
		out = append(out, socketIn(d))
	}
	return append(out, "/run/millrace/millrace.sock")
}

func socketIn(data string) string { return filepath.Join(data, "run", "millrace.sock") }

// client decides where the daemon is; it does not connect yet.
func (c *call) client() (*client.Client, error) {
	t := &c.to
	if t.server != "" && t.socket != "" {
		return nil, wrongUsage("give --server or --socket, not both")
	}
	switch {
	case t.socket != "", t.server != "":
	case c.env("MILLRACE_SOCKET") != "":
		t.socket = c.env("MILLRACE_SOCKET")
	case c.env("MILLRACE_SERVER") != "":
		t.server = c.env("MILLRACE_SERVER")
	case c.env("MILLRACE_DATA") != "":
		t.socket = socketIn(c.env("MILLRACE_DATA"))
	default:
		for _, path := range c.usualSockets() {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.socket = path
				break
			}
		}
		if t.socket == "" {
			return nil, errors.New("no daemon was found on this host: start one with millrace serve (or make run), " +
				"name its folder with MILLRACE_DATA, or a daemon elsewhere with --server URL --token TOKEN")
		}
	}
	cfg := client.Config{Socket: t.socket, Workspace: t.workspace, Name: "cli"}
	t.described = "the socket " + t.socket
	if t.socket == "" {
		t.overTCP, t.described = true, t.server
		cfg.Server, cfg.Token = t.server, t.token
		if cfg.Token == "" {
			cfg.Token = c.env("MILLRACE_TOKEN")
		}
	} else if t.token != "" {
		cfg.Token = t.token
	}
	cl, err := client.New(cfg)
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	return cl, nil
}

// explain adds to an error of the client what can be done about it.
func (c *call) explain(err error) error {
	t := c.to
	var refused *client.Error
	switch {
	case err == nil || errors.As(err, new(*usageError)):
		return err
	case errors.As(err, &refused):
		if client.IsUnauthorized(err) && t.overTCP {
			return fmt.Errorf("%w\nMake a token on the daemon's host with: millrace token create. Then give it as MILLRACE_TOKEN or --token", err)
		}
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not use %s: ask its owner for a token and use --server URL --token TOKEN", t.described)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		if t.overTCP {
			return fmt.Errorf("no daemon answers at %s: is it running there, and does it listen on that address (millrace serve --listen)?", t.described)
		}
		return fmt.Errorf("no daemon answers on %s: start it with millrace serve", t.described)
	}
	return err
}

// jobID reads the id of a job from the command line.
func jobID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return id, wrongUsage("%q is no job id; millrace job list shows them", s)
	}
	return id, nil
}
