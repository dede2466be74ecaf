package onion

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"tahoe-go/internal/kit/durable"
)

// maxKeyFile is far above any key file, so that a wrong path costs no memory.
const maxKeyFile = 8 << 10

// ReadKeyFile reads a key file in any of the forms that ParseKey takes.
func ReadKeyFile(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("reading the onion key: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return Key{}, fmt.Errorf("reading the onion key: %w", err)
	}
	if len(data) > maxKeyFile {
		return Key{}, fmt.Errorf("onion key file %s: %w: it is too long", path, ErrKeySyntax)
	}
	key, err := ParseKey(data)
	if err != nil {
		return Key{}, fmt.Errorf("onion key file %s: %w", path, err)
	}
	return key, nil
}

// WriteKeyFile stores k in a new file that only its owner can read, without a
// final newline, as the reference program wants it. The file is on disk when it
// returns. It never replaces a file: the key is the service's address.
func WriteKeyFile(path string, k Key) error {
	if k.IsZero() {
		return errors.New("onion: internal error: writing no key")
	}
	if err := durable.WriteNewFile(path, []byte(k.Reveal()), 0o600); err != nil {
		return fmt.Errorf("writing the onion key: %w", err)
	}
	return nil
}

// LoadOrCreateKeyFile reads the key at path, or makes one from random and
// stores it there if there is no file.
func LoadOrCreateKeyFile(path string, random io.Reader) (Key, error) {
	key, err := ReadKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = NewKey(random); err != nil {
		return Key{}, err
	}
	return key, WriteKeyFile(path, key)
}
