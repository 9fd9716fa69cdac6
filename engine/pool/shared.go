package pool

import (
	"context"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox"
)

// Share makes a folder that runs see whose launch's template names it: a class of slots has it, which is nobody else's.
func (p *Pool) Share(ctx context.Context, name string, size int64) error {
	s, ok := p.cfg.Isolator.(sandbox.Sharer)
	if !ok {
		return &engine.Error{Code: engine.Unavailable, Op: "job.run", Msg: "this isolation has no folder that steps can share",
			Hint: "start the daemon with --isolation=full"}
	}
	return s.Share(ctx, name, size)
}

// Unshare closes the slots that have a folder, and takes it away. Who still runs in one of them, being canceled, closes it when it is
// released, and sees the folder until then.
func (p *Pool) Unshare(ctx context.Context, name string) error {
	p.mu.Lock()
	var idle []*entry
	for _, c := range p.classes {
		if c.share == name {
			idle = append(idle, c.idle...)
			c.idle, c.over = nil, true
		}
	}
	p.mu.Unlock()
	for _, e := range idle {
		p.drop(e)
	}
	if s, ok := p.cfg.Isolator.(sandbox.Sharer); ok {
		return s.Unshare(ctx, name)
	}
	return nil
}
