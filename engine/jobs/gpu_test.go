package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/gpu"
	host "github.com/millrace/millrace/sandbox/gpu"
)

// cluster is a queue with workers and scripts that need devices: f/gpu/N needs N.
type cluster struct {
	*memory
	tags [][]string // of the workers
	tag  string     // of the scripts
}

func (c *cluster) Workers(context.Context) (out []engine.WorkerView, err error) {
	name, err := os.Hostname()
	for k, tags := range c.tags {
		out = append(out, engine.WorkerView{ID: int32(k + 1), Host: name, PID: os.Getpid() + k, Tags: tags})
	}
	return out, err
}

func (c *cluster) Latest(_ context.Context, _, path string) (*engine.Script, error) {
	s := &engine.Script{Path: path, Hash: 9, Language: "mock", Tag: c.tag}
	_, err := fmt.Sscanf(path, "f/gpu/%d", &s.Options.GPU)
	return s, err
}

func withGPUs(t *testing.T, here int, tags ...[]string) (*Jobs, *cluster) {
	t.Helper()
	s, m := setup(t)
	c := &cluster{memory: m, tags: tags}
	s.cfg.Queue, s.cfg.Scripts = c, c
	found := &host.Inventory{}
	for k := range here {
		found.Devices = append(found.Devices, host.Device{ID: fmt.Sprintf("0000:%02d:00.0", k), Name: "Test"})
	}
	if here > 0 {
		s.cfg.GPUs = gpu.New(gpu.Config{Find: func() (*host.Inventory, error) { return found, nil }, OnFree: func() {}, Log: zerolog.Nop()})
	}
	return s, c
}

func TestRunsWithDevicesGoWhereTheyAre(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		here        int
		tags        [][]string
		need        int
		script, run string // tags
		tag, refuse string
	}{
		"here":             {here: 2, need: 2, tag: "gpu:2"},
		"elsewhere":        {here: 1, tags: [][]string{{"noop"}, {"gpu:1", "gpu:2"}}, need: 2, tag: "gpu:2"},
		"too many":         {here: 1, tags: [][]string{{"gpu:1", "gpu:2"}}, need: 3, refuse: "needs 3 GPUs, and no worker has more than 2"},
		"nowhere":          {tags: [][]string{{"noop"}}, need: 1, refuse: "no worker has one to give"},
		"plain tag":        {here: 1, need: 1, script: "gpu", tag: "gpu:1"},
		"asked tag":        {here: 2, need: 1, run: "gpu:1", tag: "gpu:1"},
		"wrong number":     {here: 2, need: 1, run: "gpu:2", refuse: "the tag gpu:2 is for runs of scripts with that many GPUs"},
		"another tag":      {here: 1, need: 1, script: "big", refuse: "has the tag big"},
		"none needed":      {here: 1, need: 0, tag: "mock"},
		"none but the tag": {here: 1, need: 0, run: "gpu:1", refuse: "the tag gpu:1 is for runs"},
	} {
		s, q := withGPUs(t, c.here, c.tags...)
		q.tag = c.script
		_, err := s.Run(t.Context(), ann, engine.RunRequest{Workspace: "main", Path: fmt.Sprintf("f/gpu/%d", c.need), Tag: c.run})
		switch {
		case c.refuse != "":
			if engine.CodeOf(err) != engine.Invalid || !strings.Contains(err.Error(), c.refuse) || len(q.pushed) > 0 {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || q.pushed[0].Tag != c.tag:
			t.Errorf("%s: %v %+v", name, err, q.pushed)
		}
	}
}

func TestTagsOfDevicesAreForNobodyElse(t *testing.T) {
	t.Parallel()
	s, q := withGPUs(t, 1)
	for _, r := range []engine.RunRequest{
		{Workspace: "main", Kind: engine.KindNoop, Tag: "gpu:1"}, {Workspace: "main", Source: "return 1", Language: "mock", Tag: "gpu:1"},
	} {
		if _, err := s.Run(t.Context(), ann, r); engine.CodeOf(err) != engine.Invalid || len(q.pushed) > 0 {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestScriptsThatWouldNeverGetTheirDevices(t *testing.T) {
	t.Parallel()
	s, _ := withGPUs(t, 1)
	for extra, want := range map[string]string{
		`{}`: "", `{"gpu":1}`: "", `{"gpu":2}`: "no worker has more than 1",
		`{"gpu":1,"dedicated_worker":true}`: "can not be dedicated and have a GPU", `{"gpu":"x"}`: "gpu",
	} {
		script := &engine.Script{Path: "f/a/b"}
		if err := json.Unmarshal([]byte(extra), &script.Extra); err != nil {
			t.Fatal(err)
		}
		err := s.CheckDevices(t.Context(), script)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", extra, err)
		}
	}
}

func TestWorkersShowTheirDevices(t *testing.T) {
	t.Parallel()
	s, _ := withGPUs(t, 2, []string{"gpu:1"}, []string{"gpu:1"})
	list, err := s.Workers(t.Context())
	if err != nil || len(list) != 2 || len(list[0].GPUs) != 2 || list[1].GPUs != nil {
		t.Errorf("%+v %v", list, err)
	}
}

func TestWhyOfAJobThatWaitsForDevices(t *testing.T) {
	t.Parallel()
	s, c := withGPUs(t, 2, []string{"gpu:1", "gpu:2"})
	q := &waiting{cluster: c, tag: engine.GPUTag(2)}
	s.cfg.Queue = q
	if _, err := s.cfg.GPUs.Acquire(t.Context(), uuid.New(), 1, engine.GPUTag(1)); err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{engine.GPUTag(2): "it needs 2 of the GPUs of this host, of which 1 of 2 are free", engine.GPUTag(1): "", "python3": ""} {
		q.tag = tag
		w, err := s.why(t.Context(), "main", uuid.New())
		if err != nil || strings.Join(w.Reasons, " ") != want {
			t.Errorf("%s: %+v, %v", tag, w, err)
		}
	}
}

// waiting is a queue in which every job waits with one tag.
type waiting struct {
	*cluster
	tag string
}

func (w *waiting) Why(context.Context, string, uuid.UUID) (*engine.Why, error) {
	return &engine.Why{State: engine.StateQueued}, nil
}

func (w *waiting) Get(context.Context, string, uuid.UUID) (*engine.JobView, error) {
	return &engine.JobView{Job: engine.Job{Tag: w.tag}}, nil
}
