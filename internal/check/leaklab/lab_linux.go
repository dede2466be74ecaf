package leaklab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Lab is a namespace under watch. Its methods may be called concurrently.
type Lab struct {
	t          testing.TB
	sut, sink  *netns // the system under test, and where its uplink leads
	resolvConf string
	capture    *capture
	sockets    *socketWatch
	closers    []func() // last first
}

// New makes a Lab that ends with t, together with every process in it. Without
// the means for it t is skipped, or fails where CI=true.
func New(t testing.TB) *Lab {
	t.Helper()
	if err := able(); err != nil {
		const loud = "LEAK LAB NOT RUN, nothing is known about leaks here: %v"
		if os.Getenv("CI") == "true" {
			t.Fatalf(loud, err)
		}
		t.Skipf(loud, err)
	}
	l := &Lab{t: t}
	t.Cleanup(l.close)
	if err := l.build(); err != nil {
		t.Fatalf("leak lab: %v", err)
	}
	return l
}

// able says why there can be no Lab here.
func able() error {
	for _, tool := range []string{"ip", "nft", "nsenter"} {
		if _, err := lookTool(tool); err != nil {
			return fmt.Errorf("%w (make deps installs it)", err)
		}
	}
	n, err := newNetns()
	if errors.Is(err, unix.EPERM) {
		return errors.New("it needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)")
	}
	if err == nil {
		n.close()
	}
	return err
}

// lookTool also looks where the PATH of a user does not lead.
func lookTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", err
}

func (l *Lab) build() error {
	var err error
	if l.sut, err = newNetns(); err != nil {
		return err
	}
	l.onClose(l.sut.close)
	if l.sink, err = newNetns(); err != nil {
		return err
	}
	l.onClose(l.sink.close)
	for _, step := range []func() error{l.quiet, l.cable, l.count, l.answer, l.watch} {
		if err := step(); err != nil {
			return err
		}
	}
	l.resolvConf = filepath.Join(l.t.TempDir(), "resolv.conf")
	if err := os.WriteFile(l.resolvConf, []byte("nameserver "+sinkAddr4+"\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		return err
	}
	l.onClose(l.killAll)
	return nil
}

func (l *Lab) onClose(f func()) { l.closers = append(l.closers, f) }

func (l *Lab) close() {
	for _, f := range slices.Backward(l.closers) {
		f()
	}
}

// Command returns a command that will run in the namespace: its process is the
// program itself, and it dies with ours. Its environment is ours unless the
// caller sets another.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := append(l.enter(), name)
	cmd := exec.CommandContext(ctx, enter[0], append(enter[1:], args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Wrap returns the beginning of a command line whose rest will run in the
// namespace, for those who start programs by other means than Command. Each
// part of it is replaced by the next: the process is the program itself.
func (l *Lab) Wrap() []string {
	unshare, err := lookTool("unshare")
	if err != nil {
		l.t.Fatalf("leak lab: %v", err)
	}
	return append([]string{unshare, "--mount"}, l.enter()...)
}

// enter needs a mount namespace of the program's own, since it puts another
// resolv.conf in its place.
func (l *Lab) enter() []string {
	nsenter, err := lookTool("nsenter")
	if err != nil {
		l.t.Fatalf("leak lab: %v", err)
	}
	return []string{nsenter, "--net=" + l.sut.path(), "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, l.resolvConf}
}

// Dial connects to an IP literal and port as seen from inside.
func (l *Lab) Dial(ctx context.Context, address string) (net.Conn, error) {
	return l.sut.dial(ctx, address)
}

func (n *netns) dial(ctx context.Context, address string) (c net.Conn, err error) {
	err = n.do(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, "tcp", address)
		return err
	})
	return c, err
}

func (n *netns) listen(network, address string) (ln net.Listener, err error) {
	err = n.do(func() error {
		var lc net.ListenConfig
		ln, err = lc.Listen(context.Background(), network, address)
		return err
	})
	return ln, err
}

// killAll ends whatever still runs in the namespace.
func (l *Lab) killAll() {
	want, err := os.Stat(l.sut.path())
	if err != nil {
		return
	}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range links {
		if have, err := os.Stat(link); err != nil || !os.SameFile(want, have) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// tool runs a program in the namespace and returns its output.
func (n *netns) tool(stdin, name string, args ...string) (string, error) {
	path, err := lookTool(name)
	if err != nil {
		return "", err
	}
	var out []byte
	err = n.do(func() error {
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
