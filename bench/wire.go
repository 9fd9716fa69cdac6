package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn is one kept-alive HTTP/1.1 connection. It is written by hand so that the generator uses as little of the measured
// machine as possible: a request is one write, an answer a few reads, nothing is allocated for headers that nobody reads.
// One goroutine uses it.
type conn struct {
	server server
	net    net.Conn
	in     *bufio.Reader
	out    []byte
	body   []byte // of the last answer; valid until the next request
}

// server is where requests go and how they are signed.
type server struct {
	network, address string // "tcp" and host:port, or "unix" and a path
	token            string
}

const answerLimit = 90 * time.Second // the daemon itself gives up waiting after 60

func (s server) dial() (*conn, error) {
	c, err := net.Dial(s.network, s.address)
	if err != nil {
		return nil, err
	}
	return &conn{server: s, net: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

func (c *conn) close() { _ = c.net.Close() }

// do sends a request and reads the whole answer. The body is good until the next call.
func (c *conn) do(method, path, body string) (status int, answer []byte, err error) {
	host := c.server.address
	if c.server.network == "unix" {
		host = "localhost"
	}
	b := c.out[:0]
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	if c.server.token != "" {
		b = append(b, "\r\nAuthorization: Bearer "...)
		b = append(b, c.server.token...)
	}
	if body != "" {
		b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
	} else if method != "GET" {
		b = append(b, "\r\nContent-Length: 0"...)
	}
	b = append(b, "\r\n\r\n"...)
	b = append(b, body...)
	c.out = b
	if err := c.net.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return 0, nil, err
	}
	if _, err := c.net.Write(b); err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	status, err = c.read()
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return status, c.body, nil
}

// read takes an answer with a Content-Length or in chunks.
func (c *conn) read() (int, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("odd status line %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, fmt.Errorf("odd status line %q", line)
	}
	length, chunked := 0, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		}
	}
	if chunked {
		return status, c.readChunks()
	}
	c.body = grow(c.body, length)
	_, err = io.ReadFull(c.in, c.body)
	return status, err
}

func (c *conn) readChunks() error {
	c.body = c.body[:0]
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		if err != nil {
			return err
		}
		at := len(c.body)
		c.body = grow(c.body, at+int(size))
		if _, err := io.ReadFull(c.in, c.body[at:]); err != nil {
			return err
		}
		if end, err := c.in.ReadString('\n'); err != nil || strings.TrimSpace(end) != "" {
			return errors.Join(err, fmt.Errorf("odd end of chunk %q", end))
		}
		if size == 0 {
			return nil
		}
	}
}

func grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	return append(b[:cap(b)], make([]byte, n-cap(b))...)
}
