package jobs

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"

	"github.com/millrace/millrace/engine"
)

// devices gives a run of a script that needs GPUs the tag of the workers that have enough of them.
func (s *Jobs) devices(ctx context.Context, script *engine.Script, j *engine.Job) error {
	if j.Kind != "" && j.Kind != engine.KindScript {
		return nil
	}
	asked := j.Tag
	if asked == "" {
		asked = script.Tag
	}
	n := script.Options.GPU
	if err := s.checkDevices(ctx, script.Path, asked, n); err != nil {
		return err
	}
	if n > 0 {
		j.Tag = engine.GPUTag(n)
	}
	return nil
}

// CheckDevices says why a script that is to be deployed would never get the GPUs that it asks for.
func (s *Jobs) CheckDevices(ctx context.Context, script *engine.Script) error {
	o, err := engine.ParseOptions(script.Extra)
	if err != nil {
		return err
	}
	if o.GPU > 0 && o.Dedicated {
		return refusal(script.Path, "it can not be dedicated and have a GPU: a kept process would keep the device from all others", "leave out dedicated_worker or gpu")
	}
	return s.checkDevices(ctx, script.Path, script.Tag, o.GPU)
}

// anyGPU is a tag that scripts with GPUs may have, because elsewhere they need one.
const anyGPU = "gpu"

func (s *Jobs) checkDevices(ctx context.Context, path, tag string, n int) error {
	if err := checkTag(path, tag, n); err != nil || n == 0 {
		return err
	}
	if tag != "" && tag != anyGPU && tag != engine.GPUTag(n) {
		return refusal(path, fmt.Sprintf("it needs GPUs and has the tag %s: what needs GPUs goes to workers by how many they have", tag), "leave out the tag")
	}
	most := 0
	if s.cfg.GPUs != nil {
		most = s.cfg.GPUs.Count()
	}
	if n <= most {
		return nil
	}
	workers, err := s.cfg.Queue.Workers(ctx)
	if err != nil {
		return err
	}
	for _, w := range workers {
		for _, t := range w.Tags {
			if k, ok := engine.GPUsOfTag(t); ok {
				most = max(most, k)
			}
		}
	}
	switch {
	case n <= most:
		return nil
	case most == 0:
		return refusal(path, fmt.Sprintf("it needs %d GPU(s), and no worker has one to give", n), "millrace doctor on the host says which GPUs are there and what keeps them from use")
	}
	return refusal(path, fmt.Sprintf("it needs %d GPUs, and no worker has more than %d", n, most), "ask for fewer, or run a worker on a host with more")
}

// checkTag keeps the tags of jobs with n GPUs from others: they would hold the place of a device and not use it.
func checkTag(path, tag string, n int) error {
	if k, ok := engine.GPUsOfTag(tag); ok && (k != n || n == 0) {
		return refusal(path, fmt.Sprintf("the tag %s is for runs of scripts with that many GPUs", tag), "leave out the tag, and say gpu in the script")
	}
	return nil
}

func refusal(path, msg, hint string) error {
	return &engine.Error{Code: engine.Invalid, Op: "gpu", Path: path, Msg: msg, Hint: hint}
}

// ownDevices adds the devices of this process to its entry in list; what other hosts have can be seen by their tags.
func (s *Jobs) ownDevices(list []engine.WorkerView) {
	if s.cfg.GPUs == nil {
		return
	}
	host, _ := os.Hostname()
	for k := range list {
		if list[k].PID == os.Getpid() && list[k].Host == host {
			list[k].GPUs = s.cfg.GPUs.List()
		}
	}
}

// why is what the queue says, and, of a job that waits for GPUs of this host, how many of them are free.
func (s *Jobs) why(ctx context.Context, ws string, id uuid.UUID) (*engine.Why, error) {
	w, err := s.cfg.Queue.Why(ctx, ws, id)
	if err != nil || s.cfg.GPUs == nil || w.State != engine.StateQueued {
		return w, err
	}
	v, err := s.cfg.Queue.Get(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	n, ok := engine.GPUsOfTag(v.Tag)
	if !ok {
		return w, nil
	}
	free, all := 0, 0
	for _, g := range s.cfg.GPUs.List() {
		if g.Problem != "" {
			continue
		}
		if all++; g.Job == nil {
			free++
		}
	}
	if free < n {
		w.Reasons = append(w.Reasons, fmt.Sprintf("it needs %d of the GPUs of this host, of which %d of %d are free", n, free, all))
	}
	return w, nil
}
