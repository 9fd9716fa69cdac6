package pool

import (
	"sync"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// outputSoon is how long a process's output is left where it is. Most processes have answered by then, and whoever reads the answer
// reads the output too: a goroutine for it would have to be woken twice, which costs more than the reading.
const outputSoon = 4 * time.Millisecond

// output reads what a process writes, beside the run once that lasts.
type output struct {
	r     *run
	timer *time.Timer
	work  sync.WaitGroup
}

func (r *run) followOutput() *output {
	o := &output{r: r}
	o.work.Add(1)
	o.timer = time.AfterFunc(outputSoon, func() {
		defer o.work.Done()
		r.readOutput()
	})
	return o
}

// settled reads what a process has written until now, whether or not it lives.
func (o *output) settled(s sandbox.Settler) {
	s.Settle()
	o.wait()
}

// begin reads from now on; for who waits for the end of the process, which may not come before its output is read.
func (o *output) begin() {
	if o.timer.Stop() {
		go func() {
			defer o.work.Done()
			o.r.readOutput()
		}()
	}
}

// wait returns when all output has been read; where it ends is for others to have brought about.
func (o *output) wait() {
	if o.timer.Stop() {
		o.r.readOutput()
		o.work.Done()
		return
	}
	o.work.Wait()
}
