package forker

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sealedCopy returns the program in a memory file that nobody can change. The job of a rootless slot has the caller's own user, so
// it could write to the file itself: through /proc/self/exe, past every read-only mount, once it has become another program.
func sealedCopy(program *os.File) (*os.File, error) {
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3: all memory files can be executed
		fd, err = unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("copy program: %w", err)
	}
	f := os.NewFile(uintptr(fd), "program")
	st, err := program.Stat()
	if err == nil {
		_, err = io.Copy(f, io.NewSectionReader(program, 0, st.Size()))
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy program: %w", err), f.Close())
	}
	return f, nil
}
