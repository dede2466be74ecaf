package tor

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

// stopTime is how long a tor may take to exit when asked to.
const stopTime = 5 * time.Second

// process is a tor that we run, or the launcher that runs it.
type process struct {
	cmd    *exec.Cmd
	orders io.WriteCloser // the launcher's standard input; nil without one
	done   chan struct{}  // closed when it has exited
	looks  int            // how often its control port was tried; owned by the supervisor

	mu   sync.Mutex // guards below
	last []string   // the last problems it wrote about
	err  error      // of Wait
}

// startProcess runs tor, by the launcher if there is one. Every line it logs
// goes to heard.
func startProcess(launcher []string, executable string, args []string, home string, heard func(severity, text string)) (*process, error) {
	path, err := exec.LookPath(executable)
	if err != nil {
		return nil, fmt.Errorf("there is no program %q to launch: install tor (on Debian: sudo apt install tor), or name it with tor.executable: %w", executable, err)
	}
	argv := slices.Concat(launcher, []string{path}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	if runtime.GOOS != "windows" {
		// Nothing of our environment is meant for tor, and an LD_PRELOAD that
		// sends programs through Tor would send tor through itself.
		cmd.Env = []string{"HOME=" + home, "LC_ALL=C"}
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout = &lineWriter{line: func(line string) {
		severity, text := parseLog(line)
		heard(severity, text)
		if severity == "warn" || severity == "err" {
			p.remember(text)
		}
	}}
	cmd.WaitDelay = time.Second // pluggable transports inherit the pipe and may hold it
	cmd.Stderr = cmd.Stdout
	if len(launcher) > 0 {
		if p.orders, err = cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("launching tor: %w", err)
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("launching tor: %w", err)
	}
	go func() {
		defer close(p.done)
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}()
	return p, nil
}

// lineWriter cuts what it is given into lines, and long lines short.
type lineWriter struct {
	line func(string)
	buf  []byte
}

const longestLog = 2000

func (w *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			w.line(strings.ToValidUTF8(string(w.buf), "?"))
			w.buf = w.buf[:0]
		case len(w.buf) < longestLog:
			w.buf = append(w.buf, c)
		}
	}
	return len(p), nil
}

func (p *process) remember(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = append(p.last, text)
	if len(p.last) > 3 {
		p.last = p.last[1:]
	}
}

// parseLog splits a line of tor's log, "Jan 02 15:04:05.000 [warn] text".
func parseLog(line string) (severity, text string) {
	line = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, line)
	_, rest, ok := strings.Cut(line, " [")
	severity, text, ok2 := strings.Cut(rest, "] ")
	if !ok || !ok2 {
		return "notice", line
	}
	return severity, strings.TrimSpace(text)
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// obituary says why it has exited, in its own words.
func (p *process) obituary() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	why := "it says nothing of why"
	if len(p.last) > 0 {
		why = "it says: " + strings.Join(p.last, " / ")
	}
	if p.err == nil {
		return fmt.Errorf("the tor that we launched has exited; %s", why)
	}
	return fmt.Errorf("the tor that we launched has exited (%w); %s", p.err, why)
}

// again has the launcher run tor again, if there is a launcher.
func (p *process) again() bool { return p.order("again") }

// works notes that tor has answered.
func (p *process) works() {
	if p.looks > 0 {
		p.order("keep")
	}
	p.looks = 0
}

func (p *process) order(line string) bool {
	if p.orders == nil {
		return false
	}
	_, err := io.WriteString(p.orders, line+"\n")
	return err == nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p.orders != nil {
		p.orders.Close()
	}
	if runtime.GOOS == "windows" || p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		p.cmd.Process.Kill()
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.done
	}
}
