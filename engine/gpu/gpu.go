// Package gpu hands out the GPUs of this host: each to one job at a time, as a whole, first come first served.
//
// Jobs that need devices have a tag that says how many (engine.GPUTag) and a lane of their own in the dispatcher, so one that
// waits for a device takes no place from jobs that need none. Devices is that lane's gate:
//
//	Enter      the dispatcher may claim one more job: a device is free, and nobody who was let in before still waits
//	Acquire    the job that was let in takes its devices, all at once, and waits in line until there are enough
//	Release    they are free again, and the gate may open
//	Leave      the job is over, whether it came to Acquire or not
//
// At most one claimed job waits at a time, the first of the queue; the others stay queued, where a host with more devices can
// take them. Nobody overtakes it: a job for four devices is not starved by jobs for one.
//
// What there is to hand out is looked up again whenever devices are: one that has vanished is not handed out, and who needs more
// than are left is told so.
package gpu

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/sandbox/gpu"
)

// Config wires Devices.
type Config struct {
	// Find looks for the host's devices; gpu.Find does.
	Find func() (*gpu.Inventory, error)
	// OnFree is called when the gate may have opened, except by Leave: whoever says that a job left looks by himself.
	OnFree func()
	Log    zerolog.Logger
}

// Devices is safe for concurrent use.
type Devices struct {
	cfg Config

	mu      sync.Mutex
	found   *gpu.Inventory         // the last look; guarded by mu
	holders map[string]uuid.UUID   // by device: the job that has it; guarded by mu
	spoiled map[string]string      // by device: why it is not handed out again; guarded by mu
	line    []*waiter              // guarded by mu
	pending bool                   // somebody was let in and has no devices yet; guarded by mu
	inside  map[uuid.UUID]struct{} // jobs that were let in and got their devices; guarded by mu
}

type waiter struct {
	job   uuid.UUID
	n     int
	let   bool // came through the gate
	grant *Grant
	err   error
	done  chan struct{} // closed when grant or err is set
}

// New looks for devices. A host where that is not possible has none.
func New(cfg Config) *Devices {
	d := &Devices{cfg: cfg, holders: map[string]uuid.UUID{}, spoiled: map[string]string{}, inside: map[uuid.UUID]struct{}{}, found: &gpu.Inventory{}}
	d.look()
	for _, x := range d.found.Devices {
		if x.Problem != "" {
			cfg.Log.Warn().Str("device", x.ID).Str("name", x.Name).Msg("no job gets this GPU: " + x.Problem)
		}
	}
	for _, note := range d.found.Notes {
		cfg.Log.Warn().Msg(note)
	}
	return d
}

// look looks again. Called with mu held, or before anybody else knows d.
func (d *Devices) look() {
	found, err := d.cfg.Find()
	if err != nil {
		d.cfg.Log.Warn().Err(err).Msg("look for GPUs")
		found = &gpu.Inventory{}
	}
	d.found = found
}

// usable lists the devices that can be handed out, whether or not they are just now. Called with mu held.
func (d *Devices) usable() (out []gpu.Device) {
	for _, x := range d.found.Usable() {
		if d.spoiled[x.ID] == "" {
			out = append(out, x)
		}
	}
	return out
}

// enough tells how many devices one job can have: any one, or several whole ones.
func enough(list []gpu.Device) int {
	whole := 0
	for _, x := range list {
		if !x.Instance() {
			whole++
		}
	}
	return max(whole, min(len(list), 1))
}

// Count is the most devices that one job can have here.
func (d *Devices) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return enough(d.usable())
}

// Slots is how many jobs can have devices at the same time.
func (d *Devices) Slots() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.usable())
}

// Tags are those of the jobs that this host has enough devices for.
func (d *Devices) Tags() []string {
	var out []string
	for n := range d.Count() {
		out = append(out, engine.GPUTag(n+1))
	}
	return out
}

// List shows the devices as they are now.
func (d *Devices) List() []engine.GPU {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	out := make([]engine.GPU, 0, len(d.found.Devices))
	for _, x := range d.found.Devices {
		g := engine.GPU{ID: x.ID, UUID: x.UUID, Name: x.Name, Problem: x.Problem}
		if why := d.spoiled[x.ID]; why != "" {
			g.Problem = why
		}
		if job, ok := d.holders[x.ID]; ok {
			g.Job = &job
		}
		out = append(out, g)
	}
	return out
}

// Enter implements dispatch.Gate: it lets one more job in. Where no device is left jobs are let in too, to be told so.
func (d *Devices) Enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending || len(d.line) > 0 {
		return false
	}
	d.look()
	all := d.usable()
	if len(all) > 0 && len(d.free(all)) == 0 {
		return false
	}
	d.pending = true
	return true
}

// Leave implements dispatch.Gate: a job that was let in is over; uuid.Nil: none came.
func (d *Devices) Leave(job uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.inside[job]; ok {
		delete(d.inside, job)
		return
	}
	d.pending = false
}

// free lists those of all that nobody has. Called with mu held.
func (d *Devices) free(all []gpu.Device) (out []gpu.Device) {
	for _, x := range all {
		if _, held := d.holders[x.ID]; !held {
			out = append(out, x)
		}
	}
	return out
}

// Acquire gives job n devices, waiting for them in line until ctx ends.
func (d *Devices) Acquire(ctx context.Context, job uuid.UUID, n int, tag string) (*Grant, error) {
	_, let := engine.GPUsOfTag(tag)
	w := &waiter{job: job, n: n, let: let, done: make(chan struct{})}
	d.mu.Lock()
	d.line = append(d.line, w)
	d.settle()
	d.mu.Unlock()
	select {
	case <-w.done:
	default:
		select {
		case <-w.done:
		case <-ctx.Done():
			return nil, d.giveUp(ctx, w)
		}
	}
	d.cfg.OnFree() // the next one may be let in while devices are left
	return w.grant, w.err
}

// giveUp takes w out of the line; what it got meanwhile is given back.
func (d *Devices) giveUp(ctx context.Context, w *waiter) error {
	d.mu.Lock()
	for k, x := range d.line {
		if x == w {
			d.line = append(d.line[:k:k], d.line[k+1:]...)
			d.settle() // who stood behind it may need less
			break
		}
	}
	got := w.grant
	d.mu.Unlock()
	if got != nil {
		got.Release()
	} else {
		d.cfg.OnFree()
	}
	return ctx.Err()
}

// settle serves the head of the line for as long as there is enough. Called with mu held.
func (d *Devices) settle() {
	if len(d.line) == 0 {
		return
	}
	d.look()
	all := d.usable()
	for len(d.line) > 0 {
		w := d.line[0]
		most := enough(all)
		if w.n > most {
			w.err = d.tooMany(w.n, most)
		} else if picked := pick(d.free(all), w.n); picked != nil {
			w.grant = d.give(w, picked)
		} else {
			return
		}
		d.line = d.line[1:]
		close(w.done)
	}
}

// pick chooses n of the free devices: a part of one when that will do, so that whole ones are left for who needs several; nil: they
// are not enough.
func pick(free []gpu.Device, n int) []gpu.Device {
	var whole []gpu.Device
	for _, x := range free {
		if x.Instance() && n == 1 {
			return []gpu.Device{x}
		}
		if !x.Instance() {
			whole = append(whole, x)
		}
	}
	if len(whole) < n {
		return nil
	}
	return whole[:n]
}

// give notes who has what. Called with mu held.
func (d *Devices) give(w *waiter, picked []gpu.Device) *Grant {
	for _, x := range picked {
		d.holders[x.ID] = w.job
	}
	if w.let {
		d.pending = false
		d.inside[w.job] = struct{}{}
	}
	return &Grant{from: d, found: d.found, devices: picked}
}

// tooMany explains why a job can not have n devices. Called with mu held.
func (d *Devices) tooMany(n, most int) error {
	e := &engine.Error{Code: engine.Unavailable, Op: "job.run", Msg: fmt.Sprintf("the job needs %s, and this host has %s to give", gpus(n), gpus(most))}
	for _, x := range d.found.Devices {
		why := x.Problem
		if s := d.spoiled[x.ID]; s != "" {
			why = s
		}
		if why != "" {
			e.Hint += fmt.Sprintf("GPU %s (%s): %s. ", x.ID, x.Name, why)
		}
	}
	if e.Hint == "" {
		e.Hint = "if devices were taken out, or the driver was unloaded, put them back and run the job again; millrace doctor shows what is there"
	}
	return e
}

func gpus(n int) string {
	switch n {
	case 0:
		return "no GPU"
	case 1:
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}
