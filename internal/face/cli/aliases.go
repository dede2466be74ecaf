package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/text/unicode/norm"

	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/kit/durable"
	"tahoe-go/internal/kit/redact"
)

// An alias is a name for the cap of a directory. They are lines NAME: CAP in
// private/aliases of the node directory; those that begin with # are comments.
// private/root_dir.cap, of old, supplies the alias tahoe.
const (
	aliasFile    = "aliases"
	rootCapFile  = "root_dir.cap"
	defaultAlias = "tahoe" // of paths without one
	lockWait     = 10 * time.Second
)

// readAliases returns the caps by alias. A directory without any is fine.
func readAliases(dir string) (map[string]redact.Secret, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, noNode(dir)
	}
	aliases := map[string]redact.Secret{}
	private := filepath.Join(dir, "private")
	text, err := os.ReadFile(filepath.Join(private, rootCapFile))
	if root := strings.TrimSpace(string(text)); err == nil && root != "" {
		aliases[defaultAlias] = redact.New(root)
	}
	text, err = os.ReadFile(filepath.Join(private, aliasFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail("", "reading the aliases: %v", err)
	}
	for line := range strings.Lines(string(bytes.TrimPrefix(text, []byte("\ufeff")))) {
		line = strings.TrimSpace(line)
		name, cap, found := strings.Cut(line, ":")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		aliases[norm.NFC.String(strings.TrimSpace(name))] = redact.New(strings.TrimSpace(cap))
	}
	return aliases, nil
}

// aliasName checks a name for a new alias. A colon at its end does not count.
func aliasName(word string) (string, error) {
	name := norm.NFC.String(strings.TrimSuffix(word, ":"))
	switch {
	case name == "":
		return "", fail("", "an alias needs a name")
	case strings.Contains(name, ":"):
		return "", fail("", "alias names cannot contain colons")
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' }):
		return "", fail("", "alias names cannot contain spaces")
	case strings.ContainsAny(name, `/\`):
		return "", fail("", "alias names cannot contain slashes: a path could not be told from them")
	case strings.HasPrefix(name, "#"), strings.HasPrefix(name, "@"), strings.HasPrefix(name, "-"):
		return "", fail("", "alias names cannot begin with %c", name[0])
	case name == "URI" || name == "http" || name == "https":
		return "", fail("", "%s cannot be an alias: it begins caps or addresses", name)
	case unprintable(name):
		return "", fail("", "alias names must be printable")
	}
	return name, nil
}

// newAlias adds an alias, whose cap comes from make. Others who add one at the
// same time wait. What is in the file already stays as it is.
func newAlias(ctx context.Context, dir, name string, make func() (caps.Cap, error)) error {
	private := filepath.Join(dir, "private")
	if info, err := os.Stat(private); err != nil || !info.IsDir() {
		return noNode(dir) // and it is not made one: create-client wants an empty folder
	}
	lock := flock.New(filepath.Join(private, aliasFile+".lock"), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return fail("try again", "another command is changing the aliases of %s: %v", dir, err)
	}
	defer lock.Close()
	aliases, err := readAliases(dir)
	if err != nil {
		return err
	}
	if _, there := aliases[name]; there {
		return fail("see: tahoe list-aliases", "the alias %s already exists", quoteName(name))
	}
	file := filepath.Join(private, aliasFile)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail("", "reading the aliases: %v", err)
	}
	cap, err := make()
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = fmt.Appendf(text, "%s: %s\n", name, cap.Reveal())
	if err := durable.WriteFile(file, text, 0o600); err != nil {
		return fail("", "writing %s: %v", file, err)
	}
	return nil
}
