package tor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tahoe-go/internal/kit/durable"
	"tahoe-go/internal/network/tor/onion"
)

// memory is what a node knows of services whose key tor keeps to itself. In
// its file each line is one service: address ("-": not known), local port,
// folder, with tabs between them.
type memory struct {
	dir  string
	addr onion.Address
	port int // of this machine, for tor to deliver to; 0: none was chosen
}

// maxMemory bounds the file, in bytes.
const maxMemory = 64 << 10

// recall returns what the file knows of dir. What cannot be read is not known.
func recall(file, dir string) memory {
	all, _ := readMemory(file)
	for _, m := range all {
		if m.dir == dir {
			return m
		}
	}
	return memory{dir: dir}
}

// remember writes m in place of what the file knew of that folder. The caller
// sees to it that nobody else writes.
func remember(file string, m memory) error {
	if file == "" || strings.ContainsAny(m.dir, "\n\t") {
		return nil
	}
	all, err := readMemory(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all = slices.DeleteFunc(all, func(old memory) bool { return old.dir == m.dir })
	var b strings.Builder
	for _, one := range append(all, m) {
		fmt.Fprintf(&b, "%s\t%d\t%s\n", orDash(one.addr), one.port, one.dir)
	}
	return durable.WriteFile(file, []byte(b.String()), 0o600)
}

func orDash(a onion.Address) string {
	if a == "" {
		return "-"
	}
	return a.String()
}

func readMemory(file string) ([]memory, error) {
	text, err := readFile(file, maxMemory)
	if err != nil {
		return nil, err
	}
	return parseMemory(text), nil
}

// parseMemory leaves out lines that it does not understand.
func parseMemory(text string) []memory {
	var all []memory
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(fields) != 3 || !filepath.IsAbs(fields[2]) {
			continue
		}
		m := memory{dir: fields[2]}
		if n, err := strconv.ParseUint(fields[1], 10, 16); err == nil {
			m.port = int(n)
		}
		m.addr, _ = onion.ParseAddress(fields[0])
		all = append(all, m)
	}
	return all
}

func readFile(name string, most int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most))
	return string(b), err
}
