// Package jail is the conversation between the unprivileged daemon and the small helper that may build slots: the protocol, the
// helper's side (Server) and the daemon's (Client). It knows neither containers nor forkers; the helper gives Server a Host.
//
// The transport is one SOCK_SEQPACKET socket: a message is a JSON object in one packet of at most 64 KiB, and descriptors
// travel with the reply that they belong to. Requests are numbered by the client and answered in any order; the server works on
// a few at a time, and on one slot's one after the other.
//
//	hello             -> strength of the walls; descriptor: where the kernel tells what slots contact
//	open   template   -> slot, uid, gid; descriptors: control socket, log, the meters there are, and sockets inside of the slot
//	limits slot       -> the slot's limits are these now
//	kill   slot       -> everything in the slot has been told to die
//	close  slot       -> the slot is gone, with all that it held
//	remove path       -> a file or folder below the cache is gone
//	permit slot       -> the slot may contact these addresses too, for some time
//	share  folder     -> there is an empty folder of that name, which slots can be opened with
//	unshare folder    -> it is gone, but for slots that show it still
//	oom    slot       -> the process in it that was last killed for lack of memory, if that is known
//
// The helper takes the daemon for hostile: every field is checked before use, nothing in a message names a host path except
// binds and remove, and those are held against what the administrator allowed when the helper was started. When the connection
// ends, for whatever reason, the server destroys every slot.
package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/sandbox/gpu"
	"github.com/millrace/millrace/sandbox/seccomp"
)

// FDEnv names the environment variable that tells a daemon which inherited descriptor is its socket to the helper.
const FDEnv = "MILLRACE_JAIL_FD"

const (
	opHello  = "hello"
	opOpen   = "open"
	opLimits = "limits"
	opKill   = "kill"
	opClose  = "close"
	opRemove = "remove"
	opOOM    = "oom"
	opPermit = "permit"

	opShare   = "share"
	opUnshare = "unshare"
)

// Bounds of what is accepted.
const (
	maxMessage = 64 << 10
	maxArgs    = 64
	maxEnv     = 256
	maxPath    = 4096
	maxCalls   = 64
	maxFiles   = 16
	maxBytes   = 1 << 50 // of limits, so that their sums are numbers too
)

// errMalformed ends a connection: the peer does not speak the protocol.
var errMalformed = errors.New("malformed message")

type request struct {
	ID       uint64            `json:"id"`
	Op       string            `json:"op"`
	Template *sandbox.Template `json:"template,omitempty"`
	Limits   *sandbox.Limits   `json:"limits,omitempty"`
	Slot     string            `json:"slot,omitempty"`
	Path     string            `json:"path,omitempty"`
	Folder   string            `json:"folder,omitempty"`
	Size     int64             `json:"size,omitempty"` // of Folder
	Permits  *permits          `json:"permits,omitempty"`
}

type reply struct {
	ID       uint64            `json:"id"`
	Error    string            `json:"error,omitempty"`
	Strength *sandbox.Strength `json:"strength,omitempty"`
	Slot     string            `json:"slot,omitempty"`
	UID      int               `json:"uid"`
	GID      int               `json:"gid"`
	Meters   []string          `json:"meters,omitempty"` // names of the descriptors behind control and log
	Inside   []string          `json:"inside,omitempty"` // names of the descriptors behind those of meters
	Link     int               `json:"link,omitempty"`
	API      string            `json:"api,omitempty"`
	Killed   *sandbox.Kill     `json:"killed,omitempty"`
}

// decode reads one message strictly: unknown fields and trailing data are malformed.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: trailing data", errMalformed)
	}
	return nil
}

func decodeRequest(data []byte) (request, error) {
	var r request
	err := decode(data, &r)
	return r, err
}

var (
	nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)
	slotShape = regexp.MustCompile(`^[0-9]{1,9}$`)
)

// check refuses requests that no daemon of ours sends. What depends on the host (binds, paths) is the Host's to check.
func (r request) check() error {
	switch r.Op {
	case opHello:
		return nil
	case opOpen:
		if r.Template == nil || r.Limits == nil {
			return errors.New("open needs a template and limits")
		}
		return errors.Join(checkTemplate(*r.Template), checkLimits(*r.Limits))
	case opLimits:
		if r.Limits == nil {
			return errors.New("limits are missing")
		}
		return errors.Join(checkSlot(r.Slot), checkLimits(*r.Limits))
	case opKill, opClose, opOOM:
		return checkSlot(r.Slot)
	case opShare, opUnshare:
		if !nameShape.MatchString(r.Folder) || r.Op == opShare && (r.Size < 1 || r.Size > maxBytes) {
			return fmt.Errorf("bad folder %q of %d bytes", clip(r.Folder), r.Size)
		}
		return nil
	case opPermit:
		return errors.Join(checkSlot(r.Slot), r.Permits.check())
	case opRemove:
		if r.Path == "" || len(r.Path) > maxPath {
			return errors.New("bad path")
		}
		return nil
	}
	return fmt.Errorf("unknown operation %q", clip(r.Op))
}

func checkSlot(s string) error {
	if !slotShape.MatchString(s) {
		return fmt.Errorf("bad slot %q", clip(s))
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), 40)] }

func checkTemplate(t sandbox.Template) error {
	if !nameShape.MatchString(t.Name) {
		return fmt.Errorf("bad template name %q", clip(t.Name))
	}
	if t.Shared != "" && !nameShape.MatchString(t.Shared) {
		return fmt.Errorf("bad folder %q", clip(t.Shared))
	}
	if err := checkNetwork(t); err != nil {
		return err
	}
	if len(t.Zygote) > maxArgs || len(t.ZygoteEnv) > maxEnv {
		return errors.New("too many arguments or variables for the zygote")
	}
	if len(t.Zygote) > 0 && !strings.HasPrefix(t.Zygote[0], "/") {
		return fmt.Errorf("zygote %q is not an absolute path", clip(t.Zygote[0]))
	}
	for _, s := range t.Zygote {
		if strings.ContainsRune(s, 0) {
			return errors.New("zygote argument holds a NUL")
		}
	}
	for _, s := range t.ZygoteEnv {
		// libcontainer reads variables of this prefix in the new slot's first process, before it is confined.
		if strings.ContainsRune(s, 0) || strings.IndexByte(s, '=') < 1 || strings.HasPrefix(s, "_LIBCONTAINER") {
			return fmt.Errorf("bad variable for the zygote: %q", clip(s))
		}
	}
	if len(t.Calls) > maxCalls {
		return errors.New("too many system calls to be allowed")
	}
	if err := seccomp.Check(t.Calls); err != nil {
		return err
	}
	if err := gpu.CheckIDs(t.Devices); err != nil {
		return err
	}
	for _, b := range t.Binds {
		if len(b.Source) > maxPath || len(b.Target) > maxPath {
			return errors.New("path of a bind is too long")
		}
	}
	return nil
}

func checkLimits(l sandbox.Limits) error {
	if l.Memory < 0 || l.Pids < 0 || l.Pids > 1<<22 || l.CPU < 0 || l.CPU > 1<<16 || l.CPU != l.CPU {
		return errors.New("limits out of range")
	}
	if l.Swap < 0 || l.IO < 0 || l.Memory > maxBytes || l.Swap > maxBytes || l.IO > maxBytes {
		return errors.New("limits out of range")
	}
	if l.Memory != 0 && l.Memory < 1<<20 {
		return errors.New("memory limit below 1 MiB")
	}
	return nil
}

// packet sends and receives whole messages on a connection.
type packet struct{ conn *net.UnixConn }

func (p packet) send(v any, files ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(data) > maxMessage {
		return fmt.Errorf("message of %d bytes is too long", len(data))
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(30 * time.Second)) // a peer that reads nothing for so long is gone
	if _, _, err := p.conn.WriteMsgUnix(data, rights, nil); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// receive returns one message, valid until the next call with buf, and the descriptors that came with it.
func (p packet) receive(buf []byte) ([]byte, []*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*(maxFiles+1)))
	n, oobn, flags, _, err := p.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, fmt.Errorf("receive message: %w", err)
	}
	files, err := filesOf(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("%w: too long", errMalformed)
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return buf[:n], files, nil
}

func filesOf(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials or the like: of no use
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			_ = unix.SetNonblock(fd, true) // so that the poller takes sockets and pipes
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Pair makes a connected pair: ours, and the peer's end as a file to be inherited.
func Pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "jail-peer")
	ours := os.NewFile(uintptr(fds[0]), "jail")
	defer ours.Close()
	conn, err := Conn(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}

// Conn makes a connection of an inherited descriptor. The file stays the caller's.
func Conn(f *os.File) (*net.UnixConn, error) {
	kind, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errors.Join(errors.New("not a SEQPACKET socket"), err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("jail socket: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a Unix socket"), c.Close())
	}
	return conn, nil
}
