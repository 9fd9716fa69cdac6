package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel's names for the configuration of a log group (linux/netfilter/nfnetlink_log.h), which x/sys does not have.
const (
	ulogConfig   = unix.NFNL_SUBSYS_ULOG<<8 | 1
	ulogCommand  = 1
	ulogMode     = 2
	ulogQueue    = 5
	ulogBind     = 1
	ulogPacket   = 2
	ulogSnapshot = 96 // bytes of each packet: the headers

	sizeofNfgenmsg = 4
)

const watchBuffer = 4 << 20

// Watch opens the socket on which the kernel tells of every conversation that a slot of this helper begins, or is not let begin.
// The message is there before the packet leaves. Who holds the socket can read it and, without CAP_NET_ADMIN, do nothing else.
func (e *Egress) Watch() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("egress: watch: %w", err)
	}
	f := os.NewFile(uintptr(fd), "egress-watch")
	group := e.rules.group()
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		configure(fd, group, 1, attribute(ulogCommand, []byte{ulogBind})),
		configure(fd, group, 2, attribute(ulogMode, append(binary.BigEndian.AppendUint32(nil, ulogSnapshot), ulogPacket, 0))),
		configure(fd, group, 3, attribute(ulogQueue, binary.BigEndian.AppendUint32(nil, 1))),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, watchBuffer),
		unix.SetNonblock(fd, true),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("egress: watch: %w", err), f.Close())
	}
	return f, nil
}

func attribute(kind uint16, data []byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(unix.NLA_HDRLEN+len(data)))
	out = append(binary.NativeEndian.AppendUint16(out, kind), data...)
	for len(out)%unix.NLA_ALIGNTO != 0 {
		out = append(out, 0)
	}
	return out
}

// configure sends one request and waits for its acknowledgement; packets that are told meanwhile are passed over.
func configure(fd int, group uint16, sequence uint32, attr []byte) error {
	size := unix.SizeofNlMsghdr + sizeofNfgenmsg + len(attr)
	m := binary.NativeEndian.AppendUint32(nil, uint32(size))
	m = binary.NativeEndian.AppendUint16(m, ulogConfig)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m = binary.NativeEndian.AppendUint32(m, sequence)
	m = binary.NativeEndian.AppendUint32(m, 0)
	m = append(m, unix.AF_UNSPEC, unix.NFNETLINK_V0)
	m = append(binary.BigEndian.AppendUint16(m, group), attr...)
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return err
		}
		if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR || binary.NativeEndian.Uint32(buf[8:]) != sequence {
			continue
		}
		if code := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 {
			return unix.Errno(-code)
		}
		return nil
	}
}
