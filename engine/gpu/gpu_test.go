package gpu

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/runtimes"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/gpu"
	"github.com/millrace/millrace/sandbox/seccomp"
)

// host is a machine whose devices come and go.
type host struct {
	mu    sync.Mutex
	found []gpu.Device
	frees atomic.Int64
}

func (h *host) set(list ...gpu.Device) {
	h.mu.Lock()
	h.found = list
	h.mu.Unlock()
}

func (h *host) find() (*gpu.Inventory, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &gpu.Inventory{Devices: slices.Clone(h.found)}, nil
}

func whole(n int) gpu.Device {
	return gpu.Device{ID: fmt.Sprintf("0000:%02d:00.0", n), UUID: fmt.Sprintf("GPU-%d", n), Name: "Test"}
}

func wholes(n int) (out []gpu.Device) {
	for k := range n {
		out = append(out, whole(k+1))
	}
	return out
}

func part(n, gi int) gpu.Device {
	d := whole(n)
	d.ID += fmt.Sprintf("/%d/0", gi)
	return d
}

func setup(list ...gpu.Device) (*Devices, *host) {
	h := &host{found: list}
	return New(Config{Find: h.find, OnFree: func() { h.frees.Add(1) }, Log: zerolog.Nop()}), h
}

func must(t *testing.T, d *Devices, n int) *Grant {
	t.Helper()
	g, err := d.Acquire(t.Context(), engine.NewJobID(), n, "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// asking acquires in the background.
type asking struct {
	grant *Grant
	err   error
	done  chan struct{}
}

func ask(ctx context.Context, d *Devices, n int) *asking {
	a := &asking{done: make(chan struct{})}
	before := inLine(d)
	go func() {
		defer close(a.done)
		a.grant, a.err = d.Acquire(ctx, engine.NewJobID(), n, "")
	}()
	for inLine(d) == before { // it stands in line before this returns
		select {
		case <-a.done:
			return a
		default:
		}
	}
	return a
}

func inLine(d *Devices) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.line)
}

func (a *asking) served(t *testing.T) *Grant {
	t.Helper()
	<-a.done
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.grant
}

func (a *asking) waits(t *testing.T) {
	t.Helper()
	select {
	case <-a.done:
		t.Fatalf("it does not wait: %+v %v", a.grant, a.err)
	default:
	}
}

func TestOneDeviceIsNeverHadByTwo(t *testing.T) {
	t.Parallel()
	d, _ := setup(wholes(3)...)
	var holders [3]atomic.Int32
	var served atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			g, err := d.Acquire(context.Background(), engine.NewJobID(), 1+rand.IntN(3), "")
			if err != nil {
				t.Error(err)
				return
			}
			for _, x := range g.devices {
				if k := int(x.UUID[4] - '1'); holders[k].Add(1) != 1 {
					t.Errorf("%s has two holders", x.ID)
				}
			}
			served.Add(1)
			for _, x := range g.devices {
				holders[int(x.UUID[4]-'1')].Add(-1)
			}
			g.Release()
			g.Release()
		})
	}
	wg.Wait()
	if served.Load() != 200 || len(d.holders) != 0 || inLine(d) != 0 {
		t.Errorf("%d served, held %v", served.Load(), d.holders)
	}
}

func TestNobodyIsOvertaken(t *testing.T) {
	t.Parallel()
	d, _ := setup(wholes(2)...)
	first := must(t, d, 1)
	both := ask(t.Context(), d, 2)
	one := ask(t.Context(), d, 1) // a device is free, and still it stands behind
	both.waits(t)
	one.waits(t)
	first.Release()
	g := both.served(t)
	if len(g.IDs()) != 2 {
		t.Errorf("%v", g.IDs())
	}
	one.waits(t)
	g.Release()
	one.served(t).Release()
}

func TestWhoGivesUpLetsOthersPass(t *testing.T) {
	t.Parallel()
	d, _ := setup(wholes(2)...)
	first := must(t, d, 1)
	ctx, cancel := context.WithCancelCause(context.Background())
	both := ask(ctx, d, 2)
	one := ask(t.Context(), d, 1)
	cancel(errors.New("canceled by ann"))
	<-both.done
	if !errors.Is(both.err, context.Canceled) || both.grant != nil {
		t.Errorf("%+v %v", both.grant, both.err)
	}
	one.served(t).Release()
	first.Release()
	must(t, d, 2).Release()
}

func TestMoreThanThereAre(t *testing.T) {
	t.Parallel()
	d, _ := setup(append(wholes(1), gpu.Device{ID: "0000:77:00.0", Name: "Broken", Problem: "its node is missing"})...)
	_, err := d.Acquire(t.Context(), engine.NewJobID(), 2, "")
	if engine.CodeOf(err) != engine.Unavailable || !strings.Contains(err.Error(), "needs 2 GPUs, and this host has 1 GPU to give") ||
		!strings.Contains(err.Error(), "0000:77:00.0 (Broken): its node is missing") {
		t.Error(err)
	}
	if got := d.Tags(); !slices.Equal(got, []string{"gpu:1"}) || d.Slots() != 1 {
		t.Errorf("%v", got)
	}
}

func TestADeviceThatVanishes(t *testing.T) {
	t.Parallel()
	d, h := setup(wholes(2)...)
	g := must(t, d, 1) // the first
	both := ask(t.Context(), d, 2)
	h.set(whole(1))
	g.Release()
	<-both.done
	if engine.CodeOf(both.err) != engine.Unavailable || !strings.Contains(both.err.Error(), "this host has 1 GPU to give") {
		t.Error(both.err)
	}
	must(t, d, 1).Release()
	h.set()
	if !d.Enter() {
		t.Error("jobs are not let in to be told that nothing is left")
	}
	if _, err := d.Acquire(t.Context(), engine.NewJobID(), 1, "gpu:1"); err == nil || !strings.Contains(err.Error(), "no GPU to give") || !strings.Contains(err.Error(), "put them back") {
		t.Error(err)
	}
	d.Leave(uuid.Nil)
	h.set(wholes(2)...)
	must(t, d, 2).Release()
}

func TestTheGateLetsInOneThatWaits(t *testing.T) {
	t.Parallel()
	d, h := setup(wholes(3)...)
	enter := func(want bool) {
		t.Helper()
		if got := d.Enter(); got != want {
			t.Fatalf("entered: %v", got)
		}
	}
	acquire := func(n int) (uuid.UUID, *Grant) {
		t.Helper()
		id := engine.NewJobID()
		g, err := d.Acquire(t.Context(), id, n, engine.GPUTag(n))
		if err != nil {
			t.Fatal(err)
		}
		return id, g
	}
	enter(true)
	enter(false) // the first has no devices yet
	before := h.frees.Load()
	id, g := acquire(2)
	if h.frees.Load() == before {
		t.Error("nobody is told that the gate may be open")
	}
	enter(true)
	d.Leave(uuid.Nil) // no job came
	enter(true)
	id2, g2 := acquire(1)
	enter(false) // all are taken
	g.Release()
	d.Leave(id)
	enter(true)
	d.Leave(engine.NewJobID()) // it ended before it came to ask
	enter(true)
	id3, g3 := acquire(2)
	g3.Release()
	g2.Release()
	d.Leave(id2)
	d.Leave(id3)
	if len(d.inside) != 0 || d.pending {
		t.Errorf("left inside: %v %v", d.inside, d.pending)
	}
}

func TestPartsAreForThoseWhoNeedOne(t *testing.T) {
	t.Parallel()
	d, _ := setup(whole(1), part(2, 1), part(2, 2), whole(3))
	if d.Count() != 2 || d.Slots() != 4 {
		t.Fatalf("%d %d", d.Count(), d.Slots())
	}
	a, b := must(t, d, 1), must(t, d, 2)
	if !a.devices[0].Instance() || !slices.Equal(b.IDs(), []string{whole(1).ID, whole(3).ID}) {
		t.Errorf("%v %v", a.IDs(), b.IDs())
	}
	if only, _ := setup(part(1, 1), part(1, 2)); only.Count() != 1 || only.Slots() != 2 {
		t.Errorf("%d %d", only.Count(), only.Slots())
	}
}

func TestASpoiledDeviceIsNotHandedOut(t *testing.T) {
	t.Parallel()
	d, _ := setup(wholes(2)...)
	g := must(t, d, 1)
	g.Spoil("its slot could not be closed")
	if again := must(t, d, 1); again.IDs()[0] != whole(2).ID {
		t.Errorf("%v", again.IDs())
	}
	list := d.List()
	if list[0].Problem != "its slot could not be closed" || list[0].Job != nil || list[1].Job == nil || list[1].Problem != "" {
		t.Errorf("%+v", list)
	}
}

func TestALaunchWithDevices(t *testing.T) {
	t.Parallel()
	d, _ := setup(wholes(2)...)
	g := must(t, d, 2)
	plain := runtimes.Launch{Template: sandbox.Template{Name: "exec", Zygote: []string{"/x"}, ZygoteEnv: []string{"A=b"}}}
	env := runtimes.Env{{Name: "PATH", Value: "/usr/bin"}}
	l := g.Fit(plain, &env)
	if !slices.Equal(l.Template.Devices, g.IDs()) || plain.Template.Devices != nil || l.Template.Key() == plain.Template.Key() {
		t.Errorf("%+v", l.Template)
	}
	if err := seccomp.Check(l.Template.Calls); err != nil || !slices.Contains(l.Template.Calls, "mbind") || plain.Template.Calls != nil {
		t.Errorf("%v %v", l.Template.Calls, err)
	}
	for name, want := range map[string]string{"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2", "NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2", "PATH": "/usr/bin"} {
		if got, _ := env.Get(name); got != want {
			t.Errorf("%v", env)
		}
	}
}
