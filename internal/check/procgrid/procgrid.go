// Package procgrid runs nodes as separate processes of the built program, in
// folders of their own: for the demonstration, for benchmarks and for tests
// that must see real processes, disks and sockets.
//
// It starts and stops programs and reads what they print; it knows nothing of
// what they do. Start with Start and Process.WaitLine.
package procgrid

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is how a program is run.
type Command struct {
	Binary string
	Args   []string
	Dir    string   // working folder; empty: ours
	Env    []string // more variables
	Stdin  io.Reader
	// Stderr receives standard error in Output; nil: it goes into the error.
	Stderr io.Writer
	// Wrap is a command and its arguments that runs Binary; for namespaces.
	Wrap []string
}

func (c Command) build(ctx context.Context) *exec.Cmd {
	argv := append(append(append([]string(nil), c.Wrap...), c.Binary), c.Args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin = c.Dir, c.Stdin
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// Output runs a program to its end and returns its standard output. The error
// has what it said on standard error.
func Output(ctx context.Context, c Command) (string, error) {
	cmd := c.build(ctx)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(c.Binary), strings.Join(c.Args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Process is a program that keeps running. Its lines, of both outputs, are
// remembered.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // readable once done is closed

	mu      sync.Mutex // guards below
	lines   []string
	changed chan struct{}
}

// maxLines bounds what is remembered of a talkative process.
const maxLines = 10_000

// Start starts a program in the background.
func Start(name string, c Command) (*Process, error) {
	p := &Process{Name: name, cmd: c.build(context.Background()), done: make(chan struct{}), changed: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.listen(r)
		r.Close()
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *Process) listen(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		if len(p.lines) < maxLines {
			p.lines = append(p.lines, lines.Text())
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	io.Copy(io.Discard, r)
}

// WaitLine returns the first line that contains text, of those printed already
// or to come. It is an error if the process ends before.
func (p *Process) WaitLine(ctx context.Context, text string) (string, error) {
	for seen := 0; ; {
		p.mu.Lock()
		lines, changed := p.lines[seen:], p.changed
		seen = len(p.lines)
		p.mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, text) {
				return l, nil
			}
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-p.done:
			return "", fmt.Errorf("%s ended before it said %q: %v\n%s", p.Name, text, p.err, p.Tail(15))
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not say %q: %w\n%s", p.Name, text, context.Cause(ctx), p.Tail(15))
		}
	}
}

// Tail returns the last n lines printed.
func (p *Process) Tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines[max(len(p.lines)-n, 0):], "\n")
}

// Log returns everything printed.
func (p *Process) Log() string { return p.Tail(maxLines) }

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the process to end, as service managers do, and after a while
// makes it. It returns what the process ended with.
func (p *Process) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.Kill()
		return fmt.Errorf("%s did not stop within 15 seconds\n%s", p.Name, p.Tail(15))
	}
	return p.err
}

// Kill ends the process at once, as a crash would.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}
