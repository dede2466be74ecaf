package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/node/config"
)

// tahoe runs one command in this process.
func tahoe(t *testing.T, run func(context.Context, string, RunOptions) error, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	var out, err bytes.Buffer
	code = Main(t.Context(), Env{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err,
		Getenv: func(string) string { return "" }, RunNode: run,
	})
	return code, out.String(), err.String()
}

func TestExitCodes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	if code, _, stderr := tahoe(t, nil, "", "create-client", "--webport=tcp:1:interface=127.0.0.1", dir); code != exitOK {
		t.Fatalf("create-client: %d %s", code, stderr)
	}
	ending := func(err error) func(context.Context, string, RunOptions) error {
		return func(context.Context, string, RunOptions) error { return err }
	}
	for _, tt := range []struct {
		name   string
		run    func(context.Context, string, RunOptions) error
		args   []string
		want   int
		stderr string
	}{
		{"stopped", ending(nil), []string{"run", dir}, exitOK, ""},
		{"could not", ending(errors.New("disk on fire")), []string{"run", dir}, exitFailed, "tahoe: disk on fire\n"},
		{"problems", ending(config.Problems{{File: "tahoe.cfg", Line: 3, Key: "[node] x", Why: "bad", Remedy: "mend it"}}), []string{"run", dir}, exitProblems,
			"tahoe.cfg:3  [node] x\n      bad\n      → mend it\n"},
		{"would leave Tor", ending(&netx.PolicyError{Addr: netx.Addr{Kind: netx.TCP, Host: "h", Port: 1}, Why: "no"}), []string{"run", dir}, exitPolicy, "network policy"},
		{"no node", ending(config.ErrNoNode), []string{"run", dir}, exitFailed, "tahoe create-node"},
		{"nobody answers a put", nil, []string{"-d", dir, "put"}, exitFailed, "is the node running?"},
		{"nobody answers status", nil, []string{"-d", dir, "status"}, exitProblems, "is the node running?"},
		{"usage", nil, []string{"put", "--what"}, exitFailed, "see: tahoe put --help"},
		{"no command", nil, nil, exitFailed, ""},
		{"full folder", nil, []string{"create-client", dir}, exitFailed, "nothing was changed"},
		{"another machine", nil, []string{"put", "-u", "http://192.0.2.1:3456/"}, exitFailed, "loopback"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := tahoe(t, tt.run, "some bytes", tt.args...)
			if code != tt.want || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, want %d; stderr %q, want %q in it", code, tt.want, stderr, tt.stderr)
			}
		})
	}
}

func TestRunPassesItsOptions(t *testing.T) {
	var got RunOptions
	var dir string
	code, _, _ := tahoe(t, func(_ context.Context, d string, o RunOptions) error { dir, got = d, o; return nil }, "",
		"-d", "/some/where", "run", "--log-level=debug", "--allow-stdin-close")
	if code != exitOK || dir != "/some/where" || got.LogLevel != "debug" || !got.AllowStdinClose || got.Stdin == nil || got.Home == "" {
		t.Errorf("exit code %d, dir %q, options %+v", code, dir, got)
	}
}

// A cap that cannot be read must not be repeated: it may be a good one with
// one letter too many.
func TestCapsAreNotRepeated(t *testing.T) {
	const cap = "URI:CHK:rjmwuhyxclxgahvlhdn3a7tlc4:oqs34enz7ka2ctkuktq2c4sv66uhwbrsvbikbrzglobk3cgmzl2a:3:10:9999"
	for _, args := range [][]string{
		{"get", cap + "x9!"},
		{"get", cap + "/photos"},
		{"get", cap, "--json"},
		{"get", strings.ToLower(cap)},
		{"get", "-u", "http://127.0.0.1:1/", cap},
	} {
		code, stdout, stderr := tahoe(t, nil, "", args...)
		if code == exitOK || strings.Contains(stdout+stderr, "rjmwuhyxclxgahvlhdn3a7tlc4") {
			t.Errorf("%d %q: %s%s", code, args[1:], stdout, stderr)
		}
	}
}

func TestWriteFileKeepsTheOldOne(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	os.WriteFile(name, []byte("old"), 0o600)
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	_, err := writeFile(link, func(w io.Writer) (int64, error) {
		w.Write([]byte("half"))
		return 4, broken
	})
	if text, _ := os.ReadFile(name); !errors.Is(err, broken) || string(text) != "old" {
		t.Errorf("after a failure the file holds %q, %v", text, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}
