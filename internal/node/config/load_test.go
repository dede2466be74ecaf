package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tahoe-go/internal/node/config"
)

const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

// client makes a client's directory with this tahoe.cfg.
func client(t *testing.T, cfg string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "tahoe.cfg", cfg)
	write(t, dir, "tahoe-client.tac", "")
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lines returns what Load says, warnings marked.
func lines(c *config.Config, err error) string {
	var out []string
	if err != nil {
		out = append(out, err.Error())
	}
	for _, w := range c.Warnings {
		out = append(out, "warning: "+w.String())
	}
	return strings.Join(out, "\n")
}
