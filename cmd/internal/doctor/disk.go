package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is how the disk of the data folder does. A durable job costs two fdatasync calls, so they bound everything.
type Disk struct {
	Folder    string  `json:"folder"` // where it was measured
	FreeMB    int64   `json:"free_mb"`
	FsyncP50  float64 `json:"fdatasync_p50_ms"`
	FsyncP99  float64 `json:"fdatasync_p99_ms"`
	FsyncRuns int     `json:"fdatasync_n"`
}

const (
	freeWanted  = 1 << 30 // bytes; below, the cluster and the dependency caches soon fill the disk
	syncRuns    = 200
	syncBudget  = 2 * time.Second // a slow disk is known as slow after fewer runs
	slowSyncP50 = 5.0             // ms
)

func checkDisk(data string) ([]Check, *Disk) {
	folder := existing(data)
	space := Check{Area: "disk", Name: "free space", Status: OK}
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		space.Status, space.Value, space.Why = Missing, "unknown", fmt.Sprintf("%s: %v", folder, err)
		space.Fix = "name a folder that exists with --data or MILLRACE_DATA"
		return []Check{space}, nil
	}
	free := int64(st.Bavail) * st.Bsize
	space.Value = fmt.Sprintf("%.1f GB in %s", float64(free)/1e9, folder)
	if free < freeWanted {
		space.Status, space.Why = Warning, "the database and the caches of dependencies need room"
		space.Fix = "free some, or put the data folder on another disk with --data"
	}
	speed := Check{Area: "disk", Name: "fdatasync", Status: OK}
	d, err := measureSync(folder)
	if err != nil {
		speed.Status, speed.Value, speed.Why = Warning, "not measured", err.Error()
		speed.Fix = "run doctor as a user who may write there"
		return []Check{space, speed}, nil
	}
	d.FreeMB = free >> 20
	speed.Value = fmt.Sprintf("p50 %.2f ms, p99 %.2f ms", d.FsyncP50, d.FsyncP99)
	if d.FsyncP50 > slowSyncP50 {
		speed.Status = Warning
		speed.Why = "every job waits for two of these"
		speed.Fix = "put the data folder on a faster disk with --data"
	}
	return []Check{space, speed}, d
}

// existing is the nearest folder at or above dir that exists.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "/"
	}
	for {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir
		}
		if dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// measureSync times appending 8 KiB (a page of the write-ahead log) and flushing it.
func measureSync(folder string) (*Disk, error) {
	f, err := os.CreateTemp(folder, ".millrace-doctor-*")
	if err != nil {
		return nil, fmt.Errorf("make a scratch file: %w", err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	page := make([]byte, 8<<10)
	var times []time.Duration
	for begin := time.Now(); len(times) < syncRuns && time.Since(begin) < syncBudget; {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, fmt.Errorf("write a scratch file: %w", err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, fmt.Errorf("fdatasync a scratch file: %w", err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	ms := func(q float64) float64 {
		return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000
	}
	return &Disk{Folder: folder, FsyncP50: ms(0.5), FsyncP99: ms(0.99), FsyncRuns: len(times)}, nil
}
