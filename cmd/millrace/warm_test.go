package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		worked := []time.Duration{time.Second, 25 * time.Second, 40 * time.Second} // since begin
		last := func() (at time.Time) {
			for _, w := range worked {
				if w <= time.Since(begin) {
					at = begin.Add(w)
				}
			}
			return at
		}
		if err := awaitQuiet(t.Context(), 20*time.Second, last); err != nil || time.Since(begin) != 21*time.Second {
			t.Errorf("%v after %v, want 21 s: 20 after the job of the first", err, time.Since(begin))
		}
		if err := awaitQuiet(t.Context(), 20*time.Second, last); err != nil || time.Since(begin) != 60*time.Second {
			t.Errorf("%v after %v, want a minute: 20 s after the last job", err, time.Since(begin))
		}
		if err := awaitQuiet(t.Context(), 20*time.Second, func() time.Time { return time.Time{} }); err != nil || time.Since(begin) != 80*time.Second {
			t.Errorf("%v after %v where nothing ever ran", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := awaitQuiet(ctx, 20*time.Second, time.Now); err == nil {
			t.Error("quiet while a job runs")
		}
	})
}
