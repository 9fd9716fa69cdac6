package pool

import (
	"github.com/millrace/millrace/runtimes"
)

// worn reports whether a slot has served long enough. Forks of one zygote share its address layout and its hash seed, so what one of
// them has told an attacker would help against the others for ever.
func (p *Pool) worn(e *entry) bool {
	return e.jobs > p.cfg.Recycle || p.now().Sub(e.since) > p.cfg.MaxAge
}

// renew replaces a slot by a new one of its class in the background: opening one takes longer than a job should wait. A run that finds no
// other waits for that one: to open one of its own would take as long, and leave one too many.
func (p *Pool) renew(e *entry, l runtimes.Launch) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		e.class.soon++
		p.work.Go(func() {
			defer p.coming(e.class, -1)
			p.discard(e)
			w, err := p.openWorker(p.ctx, e.class, l)
			if err != nil {
				if p.ctx.Err() == nil {
					p.cfg.Log.Warn().Err(err).Str("template", l.Template.Name).Msg("renew slot")
				}
				return
			}
			p.release(w.entry, l)
		})
	}
	p.mu.Unlock()
	if closed {
		p.discard(e)
	}
}
