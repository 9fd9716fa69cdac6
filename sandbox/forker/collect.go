package forker

import (
	"encoding/binary"
	"io"
	"os"
	"time"

	"github.com/millrace/millrace/sandbox/stdio"
)

const (
	maxCollect = 16 << 20
	statusSize = 4
)

// collect is what the minimal init of a process sends when its program has ended and everything that it started is dead: a wait
// status and, behind a byte 1, the file that was asked for.
type collect struct {
	pipe *os.File
	done chan struct{} // closed at the end of the pipe, after data was written
	data []byte
}

func newCollect(pipe *os.File) *collect {
	c := &collect{pipe: pipe, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.data, _ = io.ReadAll(io.LimitReader(pipe, statusSize+1+maxCollect+1))
	}()
	return c
}

// ended bounds the reading: the init that wrote is dead, so only a zygote that kept a copy can delay the end.
func (c *collect) ended() {
	_ = c.pipe.SetReadDeadline(time.Now().Add(stdio.Grace))
	<-c.done
}

func (c *collect) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// status is the wait status of the program; false when the init was killed before it could tell. Only when over.
func (c *collect) status() (int32, bool) {
	if len(c.data) < statusSize || len(c.data) > statusSize+1+maxCollect {
		return 0, false
	}
	return int32(binary.LittleEndian.Uint32(c.data)), true
}

// file is the collected file; false when there was none. Only when over.
func (c *collect) file() ([]byte, bool) {
	if len(c.data) <= statusSize || len(c.data) > statusSize+1+maxCollect {
		return nil, false
	}
	return c.data[statusSize+1:], true
}
