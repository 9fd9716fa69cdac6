package slot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/sandbox/jail"
)

// Helper says how to start a helper of one's own.
type Helper struct {
	Path  string   // the program millrace-jail
	Lib   string   // folder that holds the forker; slots may be shown all of it
	Cache string   // folder of built things, empty: none
	Allow []string // what else slots may be shown
	Extra []string // further flags
}

// Inherited tells which socket the helper that started this process gave it; false when none did.
func Inherited() (*os.File, bool, error) {
	value, ok := os.LookupEnv(jail.FDEnv)
	if !ok {
		return nil, false, nil
	}
	// Neither the variable nor the descriptor is for the processes that the daemon starts.
	_ = os.Unsetenv(jail.FDEnv)
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, false, fmt.Errorf("%s=%q does not name a descriptor", jail.FDEnv, value)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "jail"), true, nil
}

// FromFile is Connect for a descriptor as Inherited returns it; it closes the file.
func FromFile(ctx context.Context, f *os.File, o Options) (*Isolator, error) {
	conn, err := jail.Conn(f)
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	return Connect(ctx, conn, o)
}

// Spawn starts a helper with the powers of this process and connects to it. Started by root its walls are full, else rootless.
// Closing the isolator ends the helper.
func Spawn(ctx context.Context, h Helper, o Options) (*Isolator, error) {
	conn, theirs, err := jail.Pair()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--fd", "3", "--lib", h.Lib}
	if h.Cache != "" {
		args = append(args, "--cache", h.Cache)
	}
	for _, a := range h.Allow {
		args = append(args, "--allow", a)
	}
	cmd := exec.Command(h.Path, append(args, h.Extra...)...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the daemon
	said := &complaints{log: o.Log}
	cmd.Stderr = said
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the sandbox helper: %w", err), conn.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	client, err := jail.Dial(ctx, conn)
	if err != nil {
		if ctx.Err() != nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		exit := <-ended // what it said is complete only now
		return nil, errors.Join(err, said.err(), exit)
	}
	i := New(client, o)
	i.helper = ended
	return i, nil
}

// complaints keeps what the helper writes to its stderr, for the error, and logs it.
type complaints struct {
	log  zerolog.Logger
	kept []byte // written by the command's copying goroutine, read after Wait
}

func (c *complaints) Write(p []byte) (int, error) {
	c.log.Warn().Bytes("line", p).Msg("sandbox helper says")
	c.kept = append(c.kept, p[:min(len(p), max(0, tailSize-len(c.kept)))]...)
	return len(p), nil
}

func (c *complaints) err() error {
	if len(c.kept) == 0 {
		return nil
	}
	return errors.New(string(c.kept))
}
