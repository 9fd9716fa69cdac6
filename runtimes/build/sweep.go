package build

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// stored is one thing that Sweep may remove.
type stored struct {
	dir   string
	bytes int64
	used  time.Time
	cache bool
}

// Sweep removes what was not wanted for longest until at most maxBytes are used, and returns how many bytes it freed.
// Artifacts that Config.InUse speaks for stay; caches go only while nothing is being built.
func (b *Builder) Sweep(maxBytes int64) (int64, error) {
	all, err := b.stored()
	if err != nil {
		return 0, fmt.Errorf("build: sweep: %w", err)
	}
	var total, freed int64
	for _, s := range all {
		total += s.bytes
	}
	slices.SortFunc(all, func(x, y stored) int { return x.used.Compare(y.used) })
	for _, s := range all {
		if total-freed <= maxBytes {
			break
		}
		gone, err := b.evict(s)
		if err != nil {
			return freed, fmt.Errorf("build: sweep: %w", err)
		}
		if gone {
			freed += s.bytes
		}
	}
	return freed, nil
}

// evict takes s out of sight first, so that nobody meets it half removed. The lock keeps builds from starting meanwhile.
func (b *Builder) evict(s stored) (bool, error) {
	if !s.cache && b.cfg.InUse != nil && b.cfg.InUse(s.dir) {
		return false, nil
	}
	trash := b.path("tmp", fmt.Sprintf("evicted.%d", b.serial.Add(1)))
	b.mu.Lock()
	if s.cache && len(b.flights) > 0 {
		b.mu.Unlock()
		return false, nil
	}
	err := os.Rename(s.dir, trash)
	b.mu.Unlock()
	if err != nil {
		return false, err
	}
	return true, b.cfg.Remove(trash)
}

func (b *Builder) stored() ([]stored, error) {
	var all []stored
	for _, kind := range []struct {
		pattern string
		cache   bool
	}{{b.path("out", "*"), false}, {b.path("build", "*", "*"), true}} {
		dirs, err := filepath.Glob(kind.pattern)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			info, err := os.Stat(dir)
			if err != nil {
				continue // removed meanwhile
			}
			all = append(all, stored{dir: dir, bytes: size(dir), used: info.ModTime(), cache: kind.cache})
		}
	}
	return all, nil
}

// size adds up the files below dir. What cannot be read counts nothing.
func size(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
