package jail

import (
	"context"
	"errors"
	"fmt"
)

// share makes a folder; its name is taken before, so that of two requests one wins.
func (s *server) share(name string, size int64) error {
	s.mu.Lock()
	taken, many := s.folders[name], len(s.folders) >= maxFolders
	if !taken && !many {
		s.folders[name] = true
	}
	s.mu.Unlock()
	switch {
	case taken:
		return fmt.Errorf("there is a folder %s already", name)
	case many:
		return fmt.Errorf("one daemon can share no more than %d folders", maxFolders)
	}
	err := s.host.Share(name, size)
	if err != nil {
		s.mu.Lock()
		delete(s.folders, name)
		s.mu.Unlock()
	}
	return err
}

func (s *server) unshare(name string) error {
	s.mu.Lock()
	known := s.folders[name]
	delete(s.folders, name)
	s.mu.Unlock()
	if !known {
		return fmt.Errorf("no folder %s", name)
	}
	return s.host.Unshare(name)
}

func (s *server) unshareAll() error {
	var errs []error
	for name := range s.folders { // nobody asks for anything any more
		errs = append(errs, s.host.Unshare(name))
	}
	return errors.Join(errs...)
}

// Share makes an empty folder of at most size bytes, which templates can name.
func (c *Client) Share(ctx context.Context, name string, size int64) error {
	return c.ask(ctx, request{Op: opShare, Folder: name, Size: size})
}

// Unshare takes a folder away, once no slot shows it.
func (c *Client) Unshare(ctx context.Context, name string) error {
	return c.ask(ctx, request{Op: opUnshare, Folder: name})
}
