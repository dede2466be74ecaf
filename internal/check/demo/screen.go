package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen writes for a person: colours and a running clock on a terminal, plain
// lines elsewhere.
type screen struct {
	mu       sync.Mutex // guards below
	f        *os.File
	terminal bool
	pending  bool // a clock stands on the current line
	start    time.Time
}

func newScreen(f *os.File) *screen {
	return &screen{f: f, terminal: term.IsTerminal(int(f.Fd())), start: time.Now()}
}

func (s *screen) raw(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprint(s.f, text)
}

// clear removes a running clock. s.mu is held.
func (s *screen) clear() {
	if s.pending {
		fmt.Fprint(s.f, "\r\x1b[K")
		s.pending = false
	}
}

func (s *screen) bold(text string) string {
	if s.terminal {
		return "\x1b[1m" + text + "\x1b[0m"
	}
	return text
}

func (s *screen) step(i, of int, title string) {
	s.raw(fmt.Sprintf("\n%s\n", s.bold(fmt.Sprintf("%d/%d  %s", i, of, title))))
}

func (s *screen) say(format string, args ...any) {
	s.raw("     " + fmt.Sprintf(format, args...) + "\n")
}

func (s *screen) row(a, b, c, d string) { s.say("%-8s  %-62s  %6s  %s", a, b, c, d) }

// done says what is done and how long it took since start.
func (s *screen) done(start time.Time, format string, args ...any) {
	s.raw(fmt.Sprintf("  %5.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...)))
}

func (s *screen) proven(text string) {
	mark := text
	if s.terminal {
		mark = "\x1b[1;32m" + text + "\x1b[0m"
	}
	s.raw(fmt.Sprintf("\n%s\n(%.0f seconds in all)\n", mark, time.Since(s.start).Seconds()))
}

// progress is where a command may draw its own progress; nil where it would
// only be in the way.
func (s *screen) progress() io.Writer {
	if s.terminal {
		return os.Stderr
	}
	return nil
}

// clock shows on a terminal that something goes on, until stop is called.
func (s *screen) clock(what string) (stop func()) {
	if !s.terminal {
		return func() {}
	}
	start, end := time.Now(), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.mu.Lock()
				fmt.Fprintf(s.f, "\r\x1b[K  %5.1fs  %s", time.Since(start).Seconds(), what)
				s.pending = true
				s.mu.Unlock()
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}
