package expr

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// What goes between an Evaluator and a helper: frames of a kind, a length and a body. The evaluator asks, the helper may ask
// back for what the expression reads, any number of times, and answers once.
const (
	frameRun    = 'r' // evaluator: a request
	frameGiven  = 'g' // evaluator: the answer to a question, a given
	frameAsk    = 'a' // helper: a Ref
	frameValue  = 'v' // helper: the JSON of the value
	frameFailed = 'f' // helper: an Error
)

// maxFrame bounds what one side makes the other allocate.
const maxFrame = 1 << 30

// request is an expression to run.
type request struct {
	Source string `json:"source"`
	Input  input  `json:"input"`
	Millis int64  `json:"millis"`
	Memory int64  `json:"memory"`
}

// given is what the scope said.
type given struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
}

// conn is one side of the talk. One goroutine uses it at a time.
type conn struct {
	in  *bufio.Reader
	out *bufio.Writer
}

func newConn(in io.Reader, out io.Writer) *conn {
	return &conn{in: bufio.NewReaderSize(in, 64<<10), out: bufio.NewWriterSize(out, 64<<10)}
}

func (c *conn) send(kind byte, body []byte) error {
	var head [5]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(body)))
	if len(body) > maxFrame {
		return fmt.Errorf("send to the expression helper: %d bytes are too many", len(body))
	}
	if _, err := c.out.Write(head[:]); err != nil {
		return err
	}
	if _, err := c.out.Write(body); err != nil {
		return err
	}
	return c.out.Flush()
}

func (c *conn) sendJSON(kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.send(kind, body)
}

func (c *conn) receive() (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxFrame {
		return 0, nil, fmt.Errorf("receive from the expression helper: %d bytes are too many", size)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(c.in, body)
	return head[0], body, err
}
