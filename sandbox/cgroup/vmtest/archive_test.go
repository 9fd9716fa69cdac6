package vmtest

import (
	"bufio"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// archive writes the format of the kernel's memory disks, "newc": a header of numbers in hexadecimal, the name, the content.
type archive struct {
	file *os.File
	zip  *gzip.Writer
	out  *bufio.Writer
	n    int             // bytes written
	have map[string]bool // by name
	ino  int
}

func newArchive(path string) (*archive, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	return &archive{file: f, zip: z, out: bufio.NewWriter(z), have: map[string]bool{}}, nil
}

const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

func (a *archive) entry(name string, mode int, size int64, content io.Reader) error {
	name = strings.TrimPrefix(name, "/")
	a.ino++
	k, err := fmt.Fprintf(a.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	if err != nil {
		return err
	}
	a.n += k
	a.pad()
	m, err := io.Copy(a.out, io.LimitReader(content, size))
	if err == nil && m != size {
		err = io.ErrUnexpectedEOF
	}
	a.n += int(m)
	a.pad()
	return err
}

func (a *archive) pad() {
	for ; a.n%4 != 0; a.n++ {
		_ = a.out.WriteByte(0) // the error comes again with the next entry
	}
}

// dir makes name and what is above it.
func (a *archive) dir(name string) error {
	name = filepath.Clean("/" + name)
	if name == "/" || a.have[name] {
		return nil
	}
	if err := a.dir(filepath.Dir(name)); err != nil {
		return err
	}
	a.have[name] = true
	return a.entry(name, typeDir|0o755, 0, strings.NewReader(""))
}

// text makes a file.
func (a *archive) text(name, content string, mode int) error {
	if err := a.dir(filepath.Dir(name)); err != nil {
		return err
	}
	a.have[name] = true
	return a.entry(name, typeFile|mode, int64(len(content)), strings.NewReader(content))
}

// copy puts a file of the host at name.
func (a *archive) copy(name, source string) error {
	if a.have[name] {
		return nil
	}
	if err := a.dir(filepath.Dir(name)); err != nil {
		return err
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	a.have[name] = true
	return a.entry(name, typeFile|int(st.Mode().Perm()), st.Size(), f)
}

func (a *archive) link(name, target string) error {
	a.have[name] = true
	return a.entry(name, typeLink|0o777, int64(len(target)), strings.NewReader(target))
}

// program puts a program of the host at name, with the libraries that it needs, where the host has them.
func (a *archive) program(name, path string) error {
	if err := a.copy(name, path); err != nil {
		return err
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil //nolint:nilerr // a script
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) == 0 {
		return err
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", path, err)
	}
	for line := range strings.Lines(string(out)) {
		for _, word := range strings.Fields(line) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			// Hosts with a merged /usr have /lib as a link, and so has the machine.
			if err := a.copy(usr(word), word); err != nil {
				return err
			}
		}
	}
	return nil
}

// usr moves a path of /bin, /sbin and /lib to where a merged /usr has it.
func usr(path string) string {
	if strings.HasPrefix(path, "/usr/") {
		return path
	}
	return "/usr" + path
}

func (a *archive) close() error {
	if err := a.entry("TRAILER!!!", 0, 0, strings.NewReader("")); err != nil {
		return err
	}
	if err := a.out.Flush(); err != nil {
		return err
	}
	if err := a.zip.Close(); err != nil {
		return err
	}
	return a.file.Close()
}
