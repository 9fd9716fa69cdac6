package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Key seals secrets.
type Key [32]byte

// LoadKey reads the key of a file, which has it as 64 hexadecimal digits; a file that is not there is made with a new one, for nobody
// but its owner to read.
func LoadKey(path string) (Key, error) {
	var k Key
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey(path)
	}
	if err != nil {
		return k, fmt.Errorf("read secret key: %w", err)
	}
	b, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("the secret key file %s must hold 64 hexadecimal digits and nothing else", path)
	}
	copy(k[:], b)
	return k, nil
}

func newKey(path string) (k Key, err error) {
	if _, err := rand.Read(k[:]); err != nil {
		return k, fmt.Errorf("make secret key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-key-*") // mode 0600
	if err != nil {
		return k, fmt.Errorf("make secret key: %w", err)
	}
	defer os.Remove(f.Name())
	_, wErr := fmt.Fprintln(f, hex.EncodeToString(k[:]))
	if err := errors.Join(wErr, f.Sync(), f.Close()); err != nil {
		return k, fmt.Errorf("make secret key: %w", err)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) { // somebody was faster: theirs is the key
		return LoadKey(path)
	} else if err != nil {
		return k, fmt.Errorf("make secret key: %w", err)
	}
	return k, nil
}

// mark tells keys apart without telling them.
func (k Key) mark() string {
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte("millrace secret key"))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

func (k Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the key has the right length by its type
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

// seal returns base64 of nonce, length and text, filled up to a multiple of 16 bytes: by that length Windmill's command line tells
// what is sealed from what is not.
func (k Key) seal(ws, path, text string) (string, error) {
	a := k.aead()
	out := make([]byte, a.NonceSize())
	if _, err := rand.Read(out); err != nil {
		return "", err
	}
	plain := make([]byte, 4, 4+len(text)+16)
	binary.BigEndian.PutUint32(plain, uint32(len(text)))
	plain = append(plain, text...)
	plain = append(plain, make([]byte, (16-len(text)%16)%16)...)
	return base64.StdEncoding.EncodeToString(a.Seal(out, out, plain, []byte(ws+"\x00"+path))), nil
}

var errSealed = errors.New("it was not sealed with this key for this path")

func (k Key) open(ws, path, sealed string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	a := k.aead()
	if err != nil || len(b) < a.NonceSize() {
		return "", errSealed
	}
	plain, err := a.Open(nil, b[:a.NonceSize()], b[a.NonceSize():], []byte(ws+"\x00"+path))
	if err != nil || len(plain) < 4 {
		return "", errSealed
	}
	n := binary.BigEndian.Uint32(plain)
	if int64(n) > int64(len(plain)-4) {
		return "", errSealed
	}
	return string(plain[4 : 4+n]), nil
}
