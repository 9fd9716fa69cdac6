package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/gpu"
	"github.com/millrace/millrace/engine/pool"
	"github.com/millrace/millrace/runtimes/mock"
	"github.com/millrace/millrace/sandbox"
	host "github.com/millrace/millrace/sandbox/gpu"
)

// watchful is an isolator that knows which slot has which device.
type watchful struct {
	sandbox.Isolator
	mu     sync.Mutex
	having map[string]bool
	twice  []string
	opened int
	refuse error // of Close
	gone   error // of Open
}

func (w *watchful) Open(ctx context.Context, t sandbox.Template) (sandbox.Slot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone != nil && len(t.Devices) > 0 {
		return nil, w.gone
	}
	for _, id := range t.Devices {
		if w.having[id] {
			w.twice = append(w.twice, id)
		}
		w.having[id] = true
		w.opened++
	}
	s, err := w.Isolator.Open(ctx, t)
	return &watched{s, w, t.Devices}, err
}

type watched struct {
	sandbox.Slot
	w       *watchful
	devices []string
}

func (s *watched) Close() error {
	err := s.Slot.Close()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, id := range s.devices {
		delete(s.w.having, id)
	}
	if len(s.devices) > 0 && s.w.refuse != nil {
		return s.w.refuse
	}
	return err
}

// withDevices is a bundle on a host with n GPUs, and scripts 101, 102, ... that need 1, 2, ... and run source.
func withDevices(t *testing.T, n int, source string) (*bundle, *watchful, *gpu.Devices) {
	t.Helper()
	x, lock := setup(t), ""
	w := &watchful{Isolator: mock.NewIsolator(nil), having: map[string]bool{}}
	p, err := pool.New(pool.Config{Isolator: w, MaxSlots: 4, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	found := &host.Inventory{}
	for k := range n {
		found.Devices = append(found.Devices, host.Device{ID: fmt.Sprintf("0000:%02d:00.0", k), UUID: fmt.Sprintf("GPU-%d", k)})
	}
	x.cfg.Pool = p
	x.cfg.GPUs = gpu.New(gpu.Config{Find: func() (*host.Inventory, error) { return found, nil }, OnFree: func() {}, Log: zerolog.Nop()})
	for k := range 3 {
		h := engine.Hash(101 + k)
		x.shelf.scripts[h] = &engine.Script{Hash: h, Language: "mock", Content: source, Lock: &lock, Options: engine.Options{GPU: k + 1}}
	}
	return x, w, x.cfg.GPUs
}

func gpuJob(n int) *engine.Claim {
	c := preview("")
	c.Job.Kind, c.Job.Hash, c.Job.Tag = engine.KindScript, engine.Hash(100+n), engine.GPUTag(n)
	return c
}

func TestEachDeviceIsInOneSlotAtATime(t *testing.T) {
	t.Parallel()
	x, w, devices := withDevices(t, 2, "sleep 1ms; env CUDA_VISIBLE_DEVICES")
	var wg sync.WaitGroup
	for k := range 40 {
		wg.Go(func() {
			n := 1 + k%2
			out, done := x.Execute(context.Background(), gpuJob(n))
			var visible string
			if err := json.Unmarshal(out.Result, &visible); !done || out.State != engine.StateSuccess || err != nil || strings.Count(visible, "GPU-") != n {
				t.Errorf("%d devices: %s %s", n, out.State, out.Result)
			}
		})
	}
	wg.Wait()
	if len(w.twice) > 0 || len(w.having) > 0 || w.opened != 60 {
		t.Errorf("in two slots: %v; still open: %v; opened %d times", w.twice, w.having, w.opened)
	}
	for _, d := range devices.List() {
		if d.Job != nil {
			t.Errorf("%s is still busy", d.ID)
		}
	}
	if out, _ := x.Execute(t.Context(), preview("env CUDA_VISIBLE_DEVICES")); string(out.Result) != `""` && string(out.Result) != "null" {
		t.Errorf("a job without devices sees %s", out.Result)
	}
}

func TestAJobThatIsStoppedFreesItsDevice(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{&Canceled{By: "ann"}, ErrShutdown} {
		x, w, devices := withDevices(t, 1, "log here; hang")
		c := gpuJob(1)
		changed, stop := x.bus.Watch(c.Job.ID)
		ctx, cancel := context.WithCancelCause(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			if _, done := x.Execute(ctx, c); done == errors.Is(cause, ErrShutdown) {
				t.Errorf("%v: done %v", cause, done)
			}
		}()
		<-changed // it runs
		if list := devices.List(); list[0].Job == nil || *list[0].Job != c.Job.ID {
			t.Errorf("who has it: %+v", list)
		}
		// One that waits for the device can be stopped too.
		waiting, give := context.WithCancelCause(t.Context())
		give(cause)
		if out, done := x.Execute(waiting, gpuJob(1)); done == errors.Is(cause, ErrShutdown) {
			t.Errorf("%v while it waits: done %v, %s", cause, done, out.Result)
		}
		cancel(cause)
		<-over
		stop()
		if list := devices.List(); list[0].Job != nil || len(w.having) > 0 {
			t.Errorf("after %v: %+v %v", cause, list, w.having)
		}
	}
}

func TestMoreDevicesThanThereAre(t *testing.T) {
	t.Parallel()
	x, _, _ := withDevices(t, 1, "return 1")
	if out, _ := x.Execute(t.Context(), gpuJob(2)); !strings.Contains(string(out.Result), "needs 2 GPUs, and this host has 1 GPU to give") {
		t.Errorf("%s", out.Result)
	}
	x.cfg.GPUs = nil
	if out, _ := x.Execute(t.Context(), gpuJob(1)); !strings.Contains(string(out.Result), "this host gives none to jobs") {
		t.Errorf("%s", out.Result)
	}
}

func TestADeviceThatIsPulledFromUnderASlot(t *testing.T) {
	t.Parallel()
	x, w, devices := withDevices(t, 1, "return 1")
	w.gone = errors.New("device 0000:00:00.0 is not on this host, or no longer")
	if out, _ := x.Execute(t.Context(), gpuJob(1)); out.State != engine.StateFailure || !strings.Contains(string(out.Result), "is not on this host, or no longer") {
		t.Errorf("%s", out.Result)
	}
	if list := devices.List(); list[0].Job != nil {
		t.Errorf("%+v", list)
	}
	w.gone, w.refuse = nil, errors.New("a process does not die")
	if out, _ := x.Execute(t.Context(), gpuJob(1)); out.State != engine.StateSuccess {
		t.Errorf("%s", out.Result)
	}
	if list := devices.List(); !strings.Contains(list[0].Problem, "a process does not die") {
		t.Errorf("a device that a process may still have can be had again: %+v", list)
	}
}
