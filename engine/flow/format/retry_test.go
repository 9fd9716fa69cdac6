package format

import (
	"testing"
	"time"
)

func pointer(n int) *int { return &n }

func TestRetry(t *testing.T) {
	r := &Retry{
		Constant:    &ConstantRetry{Attempts: 2, Seconds: 7},
		Exponential: &ExponentialRetry{Attempts: 3, Multiplier: pointer(2), Seconds: 3},
	}
	// The exponent counts all failures, those before the constant attempts, too.
	want := []time.Duration{7, 7, 2 * 27, 2 * 81, 2 * 243}
	for i, w := range want {
		if got, ok := r.Next(i+1, 0); !ok || got != w*time.Second {
			t.Errorf("after %d failures %v, %v, want %v", i+1, got, ok, w*time.Second)
		}
	}
	if _, ok := r.Next(6, 0); ok || r.Attempts() != 5 {
		t.Errorf("%d attempts, want 5", r.Attempts())
	}
	if _, ok := r.Next(0, 0); ok {
		t.Error("nothing failed, nothing is tried again")
	}
	var none *Retry
	if _, ok := none.Next(1, 0); ok || none.Attempts() != 0 {
		t.Error("without retry nothing is tried again")
	}
	long := &Retry{Exponential: &ExponentialRetry{Attempts: 1000, Seconds: 60}}
	for _, failures := range []int{3, 50, 1000} {
		if got, ok := long.Next(failures, 0.99); !ok || got != LongestRetry {
			t.Errorf("after %d failures %v, %v, want %v", failures, got, ok, LongestRetry)
		}
	}
	jitter := &Retry{Exponential: &ExponentialRetry{Attempts: 1, Seconds: 100, RandomFactor: pointer(20)}}
	for random, want := range map[float64]time.Duration{0: 80 * time.Second, 0.5: 100 * time.Second, 0.75: 110 * time.Second} {
		if got, _ := jitter.Next(1, random); got != want {
			t.Errorf("with %v %v, want %v", random, got, want)
		}
	}
	once := &Retry{Constant: &ConstantRetry{Attempts: 1}}
	if got, ok := once.Next(1, 0); !ok || got != 0 {
		t.Errorf("at once: %v, %v", got, ok)
	}
}
