package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tahoe-go/internal/node/config"
	"tahoe-go/internal/node/pidfile"
)

const (
	logDir  = "logs"
	logName = "node.log"
	// logMost is how large a log may be before the next start puts it aside.
	logMost = 10 << 20 // bytes

	// stopTime is how long a node may take to end: transfers under way are
	// given a while.
	stopTime = time.Minute
	// lookEvery is between looks at whether it has.
	lookEvery = 50 * time.Millisecond

	// started is what a background process says once the node serves.
	started = "started"
)

// backFlags are the options of start, stop and restart.
type backFlags struct {
	basedir, level string
	json           bool
}

func (a *app) backCmd(use, short, long string, f *backFlags, run func(ctx context.Context, dir string, f *backFlags) error) *cobra.Command {
	c := &cobra.Command{
		Use:   use + " [NODEDIR]",
		Short: short,
		Long:  long,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.nodeDir(f.basedir, operand(args))
			if err != nil {
				return err
			}
			if runtime.GOOS == "windows" {
				return fail("use `tahoe run`, as a task of the Task Scheduler if it is to run unattended", "%s is not supported on Windows", use)
			}
			if _, err := config.KindOf(dir); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					err = config.ErrNoNode
				}
				return a.runError(dir, err)
			}
			return run(cmd.Context(), dir, f)
		},
	}
	c.Flags().StringVarP(&f.basedir, "basedir", "C", "", "the node in `DIR`")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object, for programs")
	return c
}

func (a *app) startCmd() *cobra.Command {
	var f backFlags
	c := a.backCmd("start", "run a node in the background",
		"Starts `tahoe run` in the background, waits until the node serves or has failed, and says which.\n"+
			"What it prints and logs goes to logs/node.log in its directory. It does not wait for Tor or for\n"+
			"other servers: `tahoe status` shows how far they are. The exit codes are those of `tahoe run`.", &f, a.start)
	c.Aliases = []string{"daemonize"}
	f.addLevel(c)
	return c
}

func (a *app) stopCmd() *cobra.Command {
	var f backFlags
	return a.backCmd("stop", "stop the node that runs in a directory",
		"Asks the node to end (SIGTERM), however it was started, and waits until it has.\nThe exit code is 2 if no node runs there.", &f,
		func(ctx context.Context, dir string, f *backFlags) error {
			pid, err := a.stop(ctx, dir)
			if err != nil {
				return err
			}
			if pid == 0 {
				return &exitError{Code: exitProblems, Msg: "no node runs in " + dir}
			}
			if f.json {
				return a.printJSON(map[string]any{"state": "stopped", "pid": pid})
			}
			fmt.Fprintf(a.Stdout, "node stopped: it was process %d\n", pid)
			return nil
		})
}

func (a *app) restartCmd() *cobra.Command {
	var f backFlags
	c := a.backCmd("restart", "stop a node, if it runs, and run it in the background",
		"Does what `tahoe stop` does, if a node runs, and then what `tahoe start` does.", &f,
		func(ctx context.Context, dir string, f *backFlags) error {
			pid, err := a.stop(ctx, dir)
			if err != nil {
				return err
			}
			if pid != 0 && !f.json {
				fmt.Fprintf(a.Stdout, "node stopped: it was process %d\n", pid)
			}
			return a.start(ctx, dir, f)
		})
	f.addLevel(c)
	return c
}

func (f *backFlags) addLevel(c *cobra.Command) {
	c.Flags().StringVar(&f.level, "log-level", "info", "`LEVEL` of the log: debug, info, warn or error")
	complete(c, "log-level", "debug", "info", "warn", "error")
}

// start runs this program again, in a session of its own, and waits until that
// says that the node serves.
func (a *app) start(ctx context.Context, dir string, f *backFlags) error {
	log, err := openLog(dir)
	if err != nil {
		return fail("", "opening the node's log: %v", err)
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fail("", "opening the node's log: %v", err)
	}
	program, err := os.Executable()
	if err != nil {
		return fail("", "finding this program: %v", err)
	}
	news, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer news.Close()
	cmd := exec.Command(program, "run", "--log-level="+f.level, "--report-to=3", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = ownSession()
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fail("", "starting the node: %v", err)
	}
	stop := context.AfterFunc(ctx, func() { terminate(cmd.Process) })
	defer stop()
	said, ok := listen(news)
	if !ok {
		return a.startFailed(ctx, cmd.Wait(), log, begin)
	}
	if f.json {
		return a.printJSON(map[string]any{"state": "running", "pid": cmd.Process.Pid, "log": log.Name()})
	}
	fmt.Fprintf(a.Stdout, "node started: process %d, log in %s\n", cmd.Process.Pid, log.Name())
	for _, line := range said {
		fmt.Fprintf(a.Stdout, "  %s\n", line)
	}
	return nil
}

// openLog opens the log for appending. One that has grown long becomes
// node.log.1.
func openLog(dir string) (*os.File, error) {
	folder := filepath.Join(dir, logDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(folder, logName)
	if info, err := os.Stat(name); err == nil && info.Size() > logMost {
		if err := os.Rename(name, name+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
}

// listen reads what the node tells people, until it says that it has started.
// ok is false if it ends before.
func listen(r io.Reader) (said []string, ok bool) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if lines.Text() == started {
			return said, true
		}
		said = append(said, lines.Text())
	}
	return said, false
}

// startFailed passes on what the process said at its end, and its exit code.
func (a *app) startFailed(ctx context.Context, err error, log *os.File, begin int64) error {
	if ctx.Err() != nil {
		return &exitError{Code: exitInterrupted, Msg: "interrupted; the node was stopped"}
	}
	code := exitFailed
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		code = exit.ExitCode()
	}
	text, _ := io.ReadAll(io.NewSectionReader(log, begin, 1<<20))
	_, reason, found := strings.Cut("\n"+string(text), "\ntahoe: ")
	if !found {
		return &exitError{Code: code, Msg: fmt.Sprintf("the node did not start (%v)", err), Hint: "see " + log.Name()}
	}
	return &exitError{Code: code, Msg: "the node did not start: " + strings.TrimRight(reason, "\n")}
}

// stop ends the node of dir and returns what its process was, 0 if there was
// none.
func (a *app) stop(ctx context.Context, dir string) (pid int, err error) {
	pid, running, err := pidfile.Running(dir)
	if err != nil {
		return 0, fail("", "it cannot be told whether a node runs: %v", err)
	}
	if !running {
		return 0, nil
	}
	if !pidfile.Sure(dir, pid) {
		return 0, fail("look with `ps`; if no node runs there, delete the file "+pidfile.Name+" in its directory",
			"process %d may not be the node of %s: it was left alone", pid, dir)
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = terminate(p)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fail("", "stopping process %d: %v", pid, err)
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	late := time.NewTimer(stopTime)
	defer late.Stop()
	for {
		now, running, err := pidfile.Running(dir)
		if err == nil && (!running || now != pid) {
			return pid, nil
		}
		select {
		case <-tick.C:
		case <-late.C:
			return 0, fail(fmt.Sprintf("its log may say why; `kill -9 %d` ends it at once, and what is stored stays whole", pid),
				"process %d was asked to stop and still runs after %v", pid, stopTime)
		case <-ctx.Done():
			return 0, &exitError{Code: exitInterrupted, Msg: fmt.Sprintf("interrupted; process %d was asked to stop", pid)}
		}
	}
}
