package lockdown

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// Launcher runs one program, and again whenever it ends, for a process that
// cannot do so itself: what a locked-down process starts is locked down too.
// So a small process of its own, started before Apply, runs the launcher, and
// the launcher runs tor. It takes no orders but "again" and "stop": what it
// runs is settled before the lock-down.
type Launcher struct {
	Command []string // program and arguments
	Env     []string // of the program; nil: that of the launcher
	// Orders comes from the process that is locked down: the line "keep" says
	// that the program works, any other asks for it to be stopped and run again,
	// the end (also that of the other process) to be stopped for good.
	Orders io.Reader
	Output io.Writer // what the program writes
	// Pause before running it again, doubled each time up to a minute unless it
	// ran for one; 0: a second.
	Pause time.Duration
}

const (
	launcherStop  = 5 * time.Second  // how long the program may take to end when asked to
	launcherFirst = 10 * time.Second // a program that cannot run ends sooner
	launcherLong  = time.Minute
)

// Keep is the line that says that the program works.
const Keep = "keep"

// Run returns nil when it was told to stop or ctx has ended, and the program
// is no more. It returns an error if the program cannot be run, or ends by
// itself within seconds the first time, before "keep": running it again would
// not help.
func (l Launcher) Run(ctx context.Context) error {
	if l.Pause == 0 {
		l.Pause = time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	again := make(chan bool, 1)
	var works atomic.Bool
	go l.listen(cancel, again, &works) // ends with Orders, or the process
	pause := l.Pause
	for first := true; ; first = false {
		started := time.Now()
		asked, err := l.once(ctx, again)
		switch {
		case ctx.Err() != nil:
			return nil
		case asked:
			pause = l.Pause
			continue
		case first && !works.Load() && time.Since(started) < launcherFirst:
			if err == nil {
				err = errors.New("it ended at once")
			}
			return fmt.Errorf("running %s: %w", l.Command[0], err)
		case time.Since(started) > launcherLong:
			pause = l.Pause
		}
		select {
		case <-time.After(pause):
		case <-again:
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, launcherLong)
	}
}

// listen reads the orders. They come from a process that may have gone wrong:
// a line that does not fit is cut, and asks to run again as any other.
func (l Launcher) listen(stop func(), again chan<- bool, works *atomic.Bool) {
	defer stop()
	r := bufio.NewReaderSize(l.Orders, 64)
	for {
		line, cut, err := r.ReadLine()
		if err != nil {
			return
		}
		switch {
		case cut:
		case string(line) == Keep:
			works.Store(true)
		default:
			select {
			case again <- true:
			default: // asked already
			}
		}
	}
}

// once runs the program until it ends. asked says that it was stopped to be
// run again.
func (l Launcher) once(ctx context.Context, again <-chan bool) (asked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.Command[0], l.Command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = l.Env, l.Output, l.Output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = launcherStop
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
		return false, err
	case <-again:
		cancel()
		return true, <-ended
	}
}
