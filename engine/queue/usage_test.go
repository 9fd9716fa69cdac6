package queue

import (
	"reflect"
	"sync"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/store/storetest"
)

// TestUsage keeps what is known of a run, whether its end is stored alone or with others, and nothing where there is nothing.
func TestUsage(t *testing.T) {
	t.Parallel()
	const n = 40
	s := newSlots(n)
	q := start(t, quiet(storetest.New(t), s))
	usage := func(i int) *engine.Usage {
		switch i % 4 {
		case 0:
			return nil
		case 1:
			return &engine.Usage{SystemMicros: int64(i), Pids: 2}
		}
		return &engine.Usage{IORead: 4096, IOWritten: 1, PidsRefused: 3, ThrottledMicros: 9, Limit: engine.HitMemory,
			OOM: &engine.OOM{Command: "py\"thon", Memory: 1, Used: 2, Limit: 3, Kills: 4}}
	}
	var claims []*engine.Claim
	for range n {
		push(t, q, noop())
		claims = append(claims, <-s.claims)
	}
	end := func(i int) {
		o := success(claims[i])
		o.Usage = usage(i)
		if !finish(t, q, o) {
			t.Errorf("job %d: refused", i)
		}
	}
	for i := range 4 {
		end(i)
	}
	var all sync.WaitGroup
	for i := 4; i < n; i++ {
		all.Go(func() { end(i) })
	}
	all.Wait()
	for i, c := range claims {
		v := get(t, q, c.Job.ID)
		if !reflect.DeepEqual(v.Usage, usage(i)) || string(v.Result) != string(success(c).Result) {
			t.Errorf("job %d: %+v, result %s", i, v.Usage, v.Result)
		}
	}
}
