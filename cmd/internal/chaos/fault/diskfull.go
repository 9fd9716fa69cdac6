package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/cmd/internal/chaos/check"
	"github.com/millrace/millrace/cmd/internal/chaos/cluster"
	"github.com/millrace/millrace/cmd/internal/chaos/ledger"
)

// diskSize is what the database has; a new cluster needs a fifth of it.
const diskSize = 320 << 20

// The file system of the database fills up under load. Pushes are refused meanwhile, with an error that says so; once there is
// room again the system goes on.
var diskFull = Fault{
	Name: "disk-full", About: "the database's file system filled up under load, then freed",
	Hits: func(kills int) int { return max(1, kills/70) },
	Cannot: func() string {
		if os.Geteuid() != 0 {
			return "only root can mount a small file system"
		}
		if _, err := exec.LookPath("mkfs.ext4"); err != nil {
			return "there is no mkfs.ext4"
		}
		return ""
	},
	Run: func(ctx context.Context, s *Stage) error {
		disk, err := s.mount(ctx)
		if err != nil {
			return err
		}
		db := filepath.Join(disk, "db")
		if err := os.Mkdir(db, 0o755); err != nil {
			return err
		}
		settings := []string{"max_wal_size=64MB", "min_wal_size=32MB"}
		if err := s.startDatabase(ctx, cluster.Config{Dir: db, Settings: settings}); err != nil {
			return err
		}
		if err := s.fleet(ctx, 3, s.db.URL(), nil); err != nil {
			return err
		}
		s.demand(clearRefusals)
		return s.hurt(ctx, 300*time.Millisecond, func(int) error { return s.fill(ctx, filepath.Join(disk, "ballast")) })
	},
}

// clearRefusals wants pushes to have been refused, each with the code that says "later" and a reason.
func clearRefusals(r *check.Result) string {
	if r.Errors == 0 {
		return "no push was refused"
	}
	for text := range r.Refusals {
		if !strings.HasPrefix(text, "unavailable ") {
			return "a push was refused with: " + text
		}
	}
	return ""
}

// mount makes a small file system in a file.
func (s *Stage) mount(ctx context.Context) (string, error) {
	image, dir := filepath.Join(s.Dir, "disk.img"), filepath.Join(s.Dir, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return "", err
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", argv[0], err, out)
		}
	}
	s.onEnd(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			s.notes = append(s.notes, fmt.Sprintf("umount: %s", out))
		}
	})
	return dir, os.Chmod(dir, 0o755)
}

// fill leaves no room for the server until pushes are refused, and gives it back.
func (s *Stage) fill(ctx context.Context, ballast string) error {
	s.struck(ledger.Now())
	refused, err := s.refusals()
	if err != nil {
		return err
	}
	full, stop := context.WithCancel(ctx)
	filled := make(chan error, 1)
	go func() { filled <- fillUp(full, ballast) }()
	err = cluster.Until(ctx, workLimit, "pushes are refused", func() (bool, error) {
		now, err := s.refusals()
		return now >= refused+20, err
	})
	stop()
	if err = errors.Join(err, <-filled); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if s.db.Running() {
		return nil
	}
	s.notes = append(s.notes, "the server ended for want of room, and was started again")
	return s.db.Start(ctx)
}

// refusals counts refused pushes.
func (s *Stage) refusals() (n int, err error) {
	for _, path := range s.lives {
		if err := ledger.Read(path, func(r ledger.Record) {
			if r.Kind == ledger.Error {
				n++
			}
		}); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	return n, nil
}

// fillUp takes every block that gets free, until told to stop.
func fillUp(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for ctx.Err() == nil {
		_, err := f.Write(block)
		switch {
		case errors.Is(err, syscall.ENOSPC) && len(block) > 4096:
			block = block[:len(block)/4]
		case errors.Is(err, syscall.ENOSPC):
			_ = wait(ctx, 20*time.Millisecond) // ends with ctx, and so does the loop
		case err != nil:
			return err
		}
	}
	return nil
}
