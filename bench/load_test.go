package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func fake(t *testing.T, h http.HandlerFunc) server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return server{network: "tcp", address: strings.TrimPrefix(s.URL, "http://"), token: "secret"}
}

func TestQuantiles(t *testing.T) {
	var s sample
	for i := 100; i >= 1; i-- {
		s = append(s, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := s.at(q); got != want {
			t.Errorf("at(%v) = %v, want %v", q, got, want)
		}
	}
	if got := (sample{}).at(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestConn(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		switch r.URL.Path {
		case "/chunks":
			fmt.Fprint(w, "one ")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, strings.Repeat("two", 20_000))
		case "/missing":
			http.Error(w, "Not found: x", http.StatusNotFound)
		default:
			fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, r.ContentLength)
		}
	})
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, want := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/a", "", 200, "GET /a 0"},
		{"POST", "/a", "", 200, "POST /a 0"},
		{"GET", "/chunks", "", 200, "one " + strings.Repeat("two", 20_000)},
		{"POST", "/b", `{"n":1}`, 200, "POST /b 7"},
		{"GET", "/missing", "", 404, "Not found: x\n"},
		{"GET", "/c", "", 200, "GET /c 0"},
	} {
		status, answer, err := c.do(want.method, want.path, want.body)
		if err != nil || status != want.status || string(answer) != want.answer {
			t.Errorf("%s %s: %d %.40q %v, want %d %.40q", want.method, want.path, status, answer, err, want.status, want.answer)
		}
	}
}

func TestLoops(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	do := func(c *conn, i int) error {
		status, _, err := c.do("GET", "/", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	}
	closed, err := closedLoop(s, 20, do)
	if err != nil || len(closed) != 20 || closed.at(0.5) <= 0 {
		t.Errorf("closed: %d latencies, %v", len(closed), err)
	}
	rate, n, err := saturate(s, 4, 100*time.Millisecond, do)
	if err != nil || n == 0 || rate < float64(n) {
		t.Errorf("saturate: %d done, %f a second, %v", n, rate, err)
	}
	start := time.Now()
	open, err := openLoop(s, 1000, 200, 8, do)
	if err != nil || len(open) != 200 || open.at(0) <= 0 {
		t.Errorf("open: %d latencies, %v", len(open), err)
	}
	// 200 arrivals at 1,000 a second take 0.2 s; sending them all at once would not be an open loop.
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("open loop took %v", took)
	}
}

func TestLoopsReportErrors(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	wrong := func(c *conn, i int) error {
		status, _, err := c.do("GET", "/", "")
		if err != nil {
			return err
		}
		return fmt.Errorf("status %d", status)
	}
	if _, err := closedLoop(s, 1, wrong); err == nil {
		t.Error("closed loop hides a wrong answer")
	}
	if _, _, err := saturate(s, 2, 20*time.Millisecond, wrong); err == nil {
		t.Error("saturation hides a wrong answer")
	}
	if _, err := openLoop(s, 1000, 5, 2, wrong); err == nil {
		t.Error("open loop hides a wrong answer")
	}
}

// TestSpeed: each of the three is measured, and the other thread's goroutine ends with the pipes.
func TestSpeed(t *testing.T) {
	s := readSpeed()
	if s.ComputeMs <= 0 || s.ProcessMs <= 0 || s.WakeUs <= 0 {
		t.Errorf("%+v", s)
	}
	if median(3, func() bool { return false }) != 0 {
		t.Error("what fails was timed")
	}
}
