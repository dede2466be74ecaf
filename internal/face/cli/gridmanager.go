package cli

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/durable"
)

// maxManagerFile bounds what is read of a grid manager, in bytes.
const maxManagerFile = 4<<20 + 1

// mostDays is how long a certificate may last.
const mostDays = 5 * 365

// gridManager is a grid manager's folder, or standard input and output.
type gridManager struct {
	*app
	dir string // "-": standard input and output
}

func (a *app) gridManagerCmd() *cobra.Command {
	g := &gridManager{app: a}
	c := &cobra.Command{
		Use:   "grid-manager",
		Short: "say which servers of a grid are to be used",
		Long: "A grid manager gives storage servers certificates that expire. Clients that trust it (`[grid_managers]` in tahoe.cfg)\n" +
			"store new shares with no others. Its folder holds a private key: keep it safe.",
		Args: cobra.NoArgs,
		RunE: a.needsCommand,
	}
	c.PersistentFlags().StringVarP(&g.dir, "config", "c", "", "the grid manager's `DIR`; - for its config.json on standard input, and on standard output where it changes")
	name := func(use, short string, words int, run func(args []string) error) {
		c.AddCommand(&cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(words), RunE: func(_ *cobra.Command, args []string) error {
			if g.dir == "" {
				return fail("", "--config=DIR is needed")
			}
			return run(args)
		}})
	}
	name("create", "make a grid manager", 0, g.create)
	name("public-identity", "print the key by which clients trust it", 0, g.identity)
	name("add NAME PUBLIC_KEY", "make a server known, by what is in its node.pubkey", 2, g.add)
	name("remove NAME", "forget a server and delete its certificates", 1, g.remove)
	name("list", "print the servers and their certificates", 0, g.list)
	name("sign NAME DAYS", "give a server a certificate for so many days", 2, g.sign)
	return c
}

func (g *gridManager) file() string { return filepath.Join(g.dir, "config.json") }

func (g *gridManager) certificate(name string, n int) string {
	return filepath.Join(g.dir, fmt.Sprintf("%s.cert.%d", name, n))
}

func (g *gridManager) load() (*announce.GridManager, error) {
	r := g.Stdin
	if g.dir != "-" {
		f, err := os.Open(g.file())
		if err != nil {
			return nil, fail("", "%v", err)
		}
		defer f.Close()
		r = f
	}
	text, err := io.ReadAll(io.LimitReader(r, maxManagerFile))
	if err != nil {
		return nil, fail("", "reading the grid manager: %v", err)
	}
	m, err := announce.ParseGridManager(text)
	if err != nil {
		return nil, fail("", "%v", err)
	}
	return m, nil
}

func (g *gridManager) save(m *announce.GridManager) error {
	var err error
	if g.dir == "-" {
		_, err = g.Stdout.Write(m.Reveal())
	} else {
		err = durable.WriteFile(g.file(), m.Reveal(), 0o600)
	}
	if err != nil {
		return fail("", "writing the grid manager: %v", err)
	}
	return nil
}

func (g *gridManager) create([]string) error {
	m, err := announce.NewGridManager(rand.Reader)
	if err != nil {
		return fail("", "%v", err)
	}
	if g.dir != "-" {
		if err := os.MkdirAll(filepath.Dir(g.dir), 0o755); err != nil {
			return fail("", "%v", err)
		}
		if err := os.Mkdir(g.dir, 0o700); err != nil {
			return fail("", "%v", err)
		}
	}
	return g.save(m)
}

func (g *gridManager) identity([]string) error {
	m, err := g.load()
	if err == nil {
		fmt.Fprintln(g.Stdout, m.Identity().Public())
	}
	return err
}

func (g *gridManager) add(args []string) error {
	m, err := g.load()
	if err != nil {
		return err
	}
	key, err := announce.ParsePublic(strings.TrimSpace(args[1]))
	if err != nil {
		return fail("it is in the server's node.pubkey, and looks like pub-v0-…", "%v", err)
	}
	if err := m.Add(args[0], key); err != nil {
		return fail("", "%s: %v", args[0], err)
	}
	return g.save(m)
}

func (g *gridManager) remove(args []string) error {
	m, err := g.load()
	if err != nil {
		return err
	}
	if err := m.Remove(args[0]); err != nil {
		return fail("", "%s: %v", args[0], err)
	}
	if err := g.save(m); err != nil || g.dir == "-" {
		return err
	}
	for n := 0; ; n++ {
		switch err := os.Remove(g.certificate(args[0], n)); {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fail("", "the server is forgotten, and a certificate still there: %v", err)
		}
	}
}

func (g *gridManager) list([]string) error {
	m, err := g.load()
	if err != nil {
		return err
	}
	for _, name := range m.Names() {
		key, _ := m.Server(name)
		fmt.Fprintf(g.Stdout, "%s: %s\n", name, key.Public())
		for n := 0; g.dir != "-"; n++ {
			text, err := os.ReadFile(g.certificate(name, n))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			says := "cannot be read"
			if cert, err := announce.ParseCertificate(text); err == nil {
				says = standing(cert, m.Identity(), time.Now())
			}
			fmt.Fprintf(g.Stdout, "%s  cert %d: %s\n", strings.Repeat(" ", len([]rune(name))), n, says)
		}
	}
	return nil
}

// standing says what a certificate is worth.
func standing(c announce.Certificate, manager announce.Key, now time.Time) string {
	grant, err := c.Verify(manager)
	if err != nil {
		return "not this manager's"
	}
	word := "valid until"
	if !grant.Expires.After(now) {
		word = "expired"
	}
	return fmt.Sprintf("%s %s (%s)", word, grant.Expires.UTC().Format("2006-01-02 15:04:05 UTC"), humanize.RelTime(grant.Expires, now, "ago", "from now"))
}

func (g *gridManager) sign(args []string) error {
	days, err := strconv.Atoi(args[1])
	if err != nil || days < 1 || days > mostDays {
		return fail("", "DAYS is a number from 1 to %d", mostDays)
	}
	m, err := g.load()
	if err != nil {
		return err
	}
	cert, err := m.Certify(args[0], time.Now().Add(time.Duration(days)*24*time.Hour))
	if err != nil {
		return fail("", "%s: %v", args[0], err)
	}
	text, err := json.MarshalIndent(cert, "", "    ")
	if err != nil {
		return fail("", "%v", err)
	}
	for n := 0; g.dir != "-"; n++ {
		err := durable.WriteNewFile(g.certificate(args[0], n), text, 0o644)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return fail("", "writing the certificate: %v", err)
		}
	}
	_, err = fmt.Fprintf(g.Stdout, "%s\n", text)
	return err
}
