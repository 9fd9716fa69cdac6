package format

import (
	"math"
	"time"
)

// Retry says how often and when a failed step is tried again: first the constant attempts, then the exponential ones.
type Retry struct {
	Source
	Constant    *ConstantRetry    `json:"constant"`
	Exponential *ExponentialRetry `json:"exponential"`
	RetryIf     *Cond             `json:"retry_if"` // sees result and error; none: always
}

// ConstantRetry waits the same time before each attempt.
type ConstantRetry struct {
	Source
	Attempts int `json:"attempts"`
	Seconds  int `json:"seconds"` // 0: at once
}

// ExponentialRetry waits longer each time: Multiplier * Seconds^n, where n is the number of failures so far.
type ExponentialRetry struct {
	Source
	Attempts     int  `json:"attempts"`
	Multiplier   *int `json:"multiplier"` // nil: 1
	Seconds      int  `json:"seconds"`    // at least 1
	RandomFactor *int `json:"random_factor"`
}

// LongestRetry is the longest wait before an attempt.
const LongestRetry = 6 * time.Hour

// Next returns how long to wait before the next attempt after so many failures, and whether there is one. random, in [0, 1),
// decides on the jitter: up to RandomFactor percent more or less.
func (r *Retry) Next(failures int, random float64) (wait time.Duration, ok bool) {
	if r == nil || failures < 1 {
		return 0, false
	}
	constant := 0
	if c := r.Constant; c != nil {
		if constant = max(c.Attempts, 0); failures <= constant {
			return min(time.Duration(max(c.Seconds, 0))*time.Second, LongestRetry), true
		}
	}
	e := r.Exponential
	if e == nil || failures-constant > e.Attempts {
		return 0, false
	}
	multiplier := 1
	if e.Multiplier != nil {
		multiplier = *e.Multiplier
	}
	seconds := float64(multiplier) * math.Pow(float64(e.Seconds), float64(failures))
	if f := e.RandomFactor; f != nil {
		percent := float64(min(max(*f, 0), 100))
		seconds += seconds * percent / 100 * (2*random - 1)
	}
	longest := LongestRetry.Seconds()
	return time.Duration(math.Max(0, math.Min(seconds, longest)) * float64(time.Second)), true
}

// Attempts is how often a step may be tried again.
func (r *Retry) Attempts() int {
	if r == nil {
		return 0
	}
	n := 0
	if r.Constant != nil {
		n += max(r.Constant.Attempts, 0)
	}
	if r.Exponential != nil {
		n += max(r.Exponential.Attempts, 0)
	}
	return n
}
