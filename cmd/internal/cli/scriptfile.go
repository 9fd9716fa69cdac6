package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/web/client"
)

// beside finds the file of fields that belongs to a source file: hello.script.yaml for hello.py and for hello.bun.ts; "": none.
func beside(source string) (string, error) {
	dir, name := filepath.Split(source)
	stem, _, _ := strings.Cut(name, ".")
	for _, ending := range []string{".script.yaml", ".script.yml", ".script.json"} {
		file := dir + stem + ending
		if _, err := os.Stat(file); err == nil {
			return file, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// addBeside fills in what s does not say from the file beside its source. What the script is and where it lies is not that file's.
func addBeside(source string, s *client.NewScript) error {
	file, err := beside(source)
	if err != nil || file == "" {
		return err
	}
	object, err := readObject(file)
	if err != nil {
		return err
	}
	var said client.NewScript
	if err := json.Unmarshal(object, &said); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := json.Unmarshal(object, &s.More); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, known := range []string{"path", "content", "language", "lock", "parent_hash", "auto_parent", "deployment_message"} {
		delete(s.More, known)
	}
	s.Summary, s.Description = cmp.Or(s.Summary, said.Summary), cmp.Or(s.Description, said.Description)
	s.Tag, s.Network, s.Timeout = cmp.Or(s.Tag, said.Tag), cmp.Or(s.Network, said.Network), cmp.Or(s.Timeout, said.Timeout)
	s.Lock, err = lockBeside(filepath.Dir(source), said.Lock)
	return err
}

// lockBeside is the lock that a file of fields holds or, as !inline FILE, names. It names it from the root of a tree that
// need not be here as a whole: the lock lies beside the source.
func lockBeside(dir string, lock *client.LockText) (*client.LockText, error) {
	if lock == nil {
		return nil, nil
	}
	name, inline := strings.CutPrefix(string(*lock), "!inline ")
	if !inline {
		return lock, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.Base(strings.TrimSpace(name))))
	if err != nil {
		return nil, err
	}
	text := client.LockText(b)
	return &text, nil
}
