package gridtest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/format/caps"
)

// Secret has text looked for, as it is and in the usual encodings, in every
// log and error and on every server's disk when the grid ends. what names it
// in the failure.
func (g *Grid) Secret(what, text string) {
	if len(text) < 16 {
		return // would be found by chance
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	raw := []byte(text)
	for _, form := range []string{text, base32.Encode(raw), hex.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw), fmt.Sprint(raw)} {
		g.secrets[form] = what
	}
}

// SecretCap has a cap and its key looked for.
func (g *Grid) SecretCap(cap caps.CHK) {
	key := cap.Key.Reveal()
	g.Secret("a cap", cap.Reveal())
	g.Secret("the key of a cap", string(key[:]))
}

// checkSecrets is the canary.
func (g *Grid) checkSecrets() {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := map[string]bool{}
	look := func(where string, text []byte) {
		for form, what := range g.secrets {
			if bytes.Contains(text, []byte(form)) {
				found[what+" is in "+where] = true
			}
		}
	}
	look("a log or an error", []byte(g.said.String()))
	for _, s := range g.Servers {
		if s.Dir == "" {
			continue
		}
		err := fs.WalkDir(os.DirFS(s.Dir), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := fs.ReadFile(os.DirFS(s.Dir), name)
			look("a file name of "+s.Name, []byte(name))
			look("the file "+name+" of "+s.Name, text)
			return err
		})
		if err != nil {
			g.t.Errorf("gridtest: looking through the disk of %s: %v", s.Name, err)
		}
	}
	for f := range found {
		g.t.Errorf("gridtest: canary: %s", f)
	}
}
