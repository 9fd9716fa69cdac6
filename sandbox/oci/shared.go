package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox/rootfs"
)

// sharedDir holds a folder for each that slots share.
const sharedDir = "shared"

// fileSize is how many bytes of a shared folder allow one file more, as each has a price in memory that the kernel does not count.
const fileSize = 4 << 10

// Share makes a folder for slots whose templates name it. It is a file system of its own in memory, so it is bounded and gone with its
// mounts; a helper without root's powers cannot mount, and takes a folder on disk, which is not bounded.
func (h *Host) Share(name string, size int64) error {
	path := filepath.Join(h.instance.dir, sharedDir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return fmt.Errorf("share folder: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("share folder: %w", err)
	}
	if h.rootless {
		return nil
	}
	options := fmt.Sprintf("mode=0700,uid=%d,gid=%d,size=%d,nr_inodes=%d", rootfs.JobUID, rootfs.JobUID, size, max(size/fileSize, 1024))
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return errors.Join(fmt.Errorf("share folder: mount: %w", err), os.Remove(path))
	}
	return nil
}

// Unshare takes a folder away. Slots that still show it keep it until they are closed.
func (h *Host) Unshare(name string) error {
	if err := unshare(filepath.Join(h.instance.dir, sharedDir, name)); err != nil {
		return fmt.Errorf("take shared folder away: %w", err)
	}
	return nil
}

func unshare(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	return os.RemoveAll(path)
}

// shared is the mount of the folder that a template names.
func (h *Host) shared(name string) (rootfs.Mount, error) {
	path := filepath.Join(h.instance.dir, sharedDir, name)
	if _, err := os.Lstat(path); err != nil {
		return rootfs.Mount{}, fmt.Errorf("shared folder %s: %w", name, err)
	}
	return rootfs.Mount{Source: path, Target: rootfs.SharedPath, Writable: true, Own: true}, nil
}

// clearShared takes away what a killed helper has left.
func (i *instance) clearShared() error {
	dir := filepath.Join(i.dir, sharedDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, unshare(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
