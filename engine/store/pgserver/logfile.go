package pgserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	logSize  = 10 << 20 // of one file
	logFiles = 3        // older ones kept, as postgres.log.1 (newest) to .3
	lastSize = 5        // lines remembered for error messages
)

// logFile is where the output of all lives of the child goes.
type logFile struct {
	path string
	log  zerolog.Logger
	max  int64

	mu   sync.Mutex // guards the rest; two lives may overlap for a moment
	f    *os.File   // nil after close, or when it could not be opened again
	size int64
}

func openLog(path string, log zerolog.Logger) (*logFile, error) {
	l := &logFile{path: path, log: log, max: logSize}
	if err := l.open(); err != nil {
		return nil, explain(fmt.Errorf("log of postgres: %w", err))
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, st.Size()
	return nil
}

// write appends to the file. Errors are dropped: a full disk must not stop the reading, or postgres would hang on its pipe.
func (l *logFile) write(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return
	}
	if l.size >= l.max {
		l.rotate()
		if l.f == nil {
			return
		}
	}
	n, _ := l.f.Write(p)
	l.size += int64(n)
}

func (l *logFile) rotate() {
	l.f.Close()
	l.f = nil
	for i := logFiles; i > 1; i-- {
		_ = os.Rename(fmt.Sprintf("%s.%d", l.path, i-1), fmt.Sprintf("%s.%d", l.path, i)) // the older one may not exist yet
	}
	err := os.Rename(l.path, l.path+".1")
	if err == nil {
		err = l.open()
	}
	if err != nil {
		l.log.Warn().Err(err).Msg("rotate the log of postgres")
	}
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// logReader reads the output of one life of the child.
type logReader struct {
	file  *logFile
	r     *os.File
	ended chan struct{}
	quiet atomic.Bool // while starting and stopping, FATAL lines are how postgres turns clients away

	mu    sync.Mutex
	lines []string // the last few
}

func (l *logFile) read(r *os.File) *logReader {
	lr := &logReader{file: l, r: r, ended: make(chan struct{})}
	lr.quiet.Store(true)
	go lr.run()
	return lr
}

func (lr *logReader) run() {
	defer close(lr.ended)
	defer lr.r.Close()
	br := bufio.NewReaderSize(lr.r, 16<<10)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			lr.file.write(line)
			lr.note(line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (lr *logReader) note(line []byte) {
	text := strings.ToValidUTF8(string(bytes.TrimSpace(line)), "?")
	if text == "" {
		return
	}
	lr.mu.Lock()
	lr.lines = append(lr.lines, text)
	if len(lr.lines) > lastSize {
		lr.lines = lr.lines[1:]
	}
	lr.mu.Unlock()
	switch {
	case strings.Contains(text, "] PANIC:  "), strings.Contains(text, "] FATAL:  ") && !lr.quiet.Load():
		lr.file.log.Error().Str("postgres", text).Msg("postgres reports")
	}
}

// last is what postgres said last, for error messages: the fatal line if there is one.
func (lr *logReader) last() string {
	lr.mu.Lock()
	defer lr.mu.Unlock()
	for i := len(lr.lines) - 1; i >= 0; i-- {
		if strings.Contains(lr.lines[i], "FATAL:") || strings.Contains(lr.lines[i], "PANIC:") {
			return strings.Join(lr.lines[max(i-1, 0):], " | ")
		}
	}
	if n := len(lr.lines); n > 0 {
		return lr.lines[n-1]
	}
	return "no output"
}

func (lr *logReader) ready()   { lr.quiet.Store(false) }
func (lr *logReader) closing() { lr.quiet.Store(true) }

// finish returns when everything is read. Orphans may hold the pipe open, so it does not wait for them for long.
func (lr *logReader) finish() {
	_ = lr.r.SetReadDeadline(time.Now().Add(500 * time.Millisecond)) // fails only when it is closed already
	<-lr.ended
}
