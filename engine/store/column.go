package store

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// Object ids of the types that travel as parameters of the hot statements.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidJSON        = 114
	oidTimestamptz = 1184
	oidUUID        = 2950
)

// arrayOf maps an element type to its array type.
var arrayOf = map[uint32]uint32{
	oidBool: 1000, oidBytea: 1001, oidInt8: 1016, oidInt2: 1005, oidInt4: 1007, oidText: 1009, oidJSON: 199, oidTimestamptz: 1185, oidUUID: 2951,
}

// arrayHeader is what comes before the elements: dimensions, null flag, element type, length, lower bound.
const arrayHeader = 20

// pgEpoch is 2000-01-01 in microseconds of Unix time, from which Postgres counts.
const pgEpoch = 946684800 * 1000000

// column builds one parameter in Postgres's binary format: the values of one column for all rows of a batch, as an array,
// or, for a batch of one, as a plain value. By hand, because it runs for every job.
type column struct {
	buf   []byte
	n     uint32
	nulls bool
}

func (c *column) reset() {
	c.buf = append(c.buf[:0], make([]byte, arrayHeader)...)
	c.n, c.nulls = 0, false
}

func (c *column) null() {
	c.buf = binary.BigEndian.AppendUint32(c.buf, ^uint32(0))
	c.n++
	c.nulls = true
}

func (c *column) size(n int) {
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n))
	c.n++
}

func (c *column) text(s string) {
	c.size(len(s))
	c.buf = append(c.buf, s...)
}

// textOrNull stores "" as null.
func (c *column) textOrNull(s string) {
	if s == "" {
		c.null()
		return
	}
	c.text(s)
}

// bytes stores nil as null.
func (c *column) bytes(b []byte) {
	if b == nil {
		c.null()
		return
	}
	c.size(len(b))
	c.buf = append(c.buf, b...)
}

func (c *column) uuid(id uuid.UUID) {
	c.size(16)
	c.buf = append(c.buf, id[:]...)
}

func (c *column) uuidOrNull(id *uuid.UUID) {
	if id == nil {
		c.null()
		return
	}
	c.uuid(*id)
}

func (c *column) bool(v bool) {
	c.size(1)
	b := byte(0)
	if v {
		b = 1
	}
	c.buf = append(c.buf, b)
}

func (c *column) int2(v int16) {
	c.size(2)
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(v))
}

func (c *column) int4(v int32) {
	c.size(4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(v))
}

func (c *column) int4OrNull(v *int32) {
	if v == nil {
		c.null()
		return
	}
	c.int4(*v)
}

func (c *column) int8(v int64) {
	c.size(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
}

// time stores the zero time as null.
func (c *column) time(t time.Time) {
	if t.IsZero() {
		c.null()
		return
	}
	c.int8(t.UnixMicro() - pgEpoch)
}

// array is the parameter as an array of elem.
func (c *column) array(elem uint32) []byte {
	b := c.buf
	binary.BigEndian.PutUint32(b[0:], 1)
	binary.BigEndian.PutUint32(b[4:], 0)
	if c.nulls {
		b[7] = 1
	}
	binary.BigEndian.PutUint32(b[8:], elem)
	binary.BigEndian.PutUint32(b[12:], c.n)
	binary.BigEndian.PutUint32(b[16:], 1)
	return b
}

// scalar is the only value of a column of one.
func (c *column) scalar() []byte {
	if c.nulls {
		return nil
	}
	return c.buf[arrayHeader+4:]
}

// rows builds the parameters of a batch: one column a field, filled row by row.
type rows struct {
	types  []uint32
	cols   []column
	params [][]byte
}

func newRows(types []uint32) *rows { return &rows{types: types, cols: make([]column, len(types))} }

func (r *rows) reset() []column {
	for i := range r.cols {
		r.cols[i].reset()
	}
	return r.cols
}

func (r *rows) arrays() [][]byte {
	r.params = r.params[:0]
	for i := range r.cols {
		r.params = append(r.params, r.cols[i].array(r.types[i]))
	}
	return r.params
}

func (r *rows) scalars() [][]byte {
	r.params = r.params[:0]
	for i := range r.cols {
		r.params = append(r.params, r.cols[i].scalar())
	}
	return r.params
}

// oids lists the parameter types of a statement over r's columns, as arrays or plain, followed by extra.
func oids(types []uint32, arrays bool, extra ...uint32) []uint32 {
	out := make([]uint32, 0, len(types)+len(extra))
	for _, t := range types {
		if arrays {
			t = arrayOf[t]
		}
		out = append(out, t)
	}
	return append(out, extra...)
}

// The readers of binary results. A nil value is null.

func readInt(b []byte) int64 {
	switch len(b) {
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func readBool(b []byte) bool { return len(b) == 1 && b[0] != 0 }

func readTime(b []byte) time.Time {
	if len(b) != 8 {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b)) + pgEpoch).UTC()
}

func readUUID(b []byte) (id uuid.UUID) {
	copy(id[:], b)
	return id
}

func readUUIDOrNil(b []byte) *uuid.UUID {
	if b == nil {
		return nil
	}
	id := readUUID(b)
	return &id
}

func readBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
