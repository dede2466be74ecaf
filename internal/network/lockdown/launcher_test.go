package lockdown

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// launch runs a launcher of a program that says its process id and waits. next
// returns the id of the next.
func launch(t *testing.T, script string) (orders *io.PipeWriter, next func() int, ended chan error) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("SKIPPED, NOTHING TESTED: this system has no sh")
	}
	or, orders := io.Pipe()
	out, w := io.Pipe()
	ended = make(chan error, 1)
	go func() {
		l := Launcher{Command: []string{sh, "-c", script}, Orders: or, Output: w, Pause: time.Millisecond}
		err := l.Run(t.Context())
		w.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	next = func() int {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the launcher has ended: %v", <-ended)
		}
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	return orders, next, ended
}

func TestLauncher(t *testing.T) {
	orders, next, ended := launch(t, "echo $$; exec sleep 1000")
	first := next()
	io.WriteString(orders, "again\n")
	second := next()
	if second == first || alive(first) {
		t.Errorf("after the order to run again, %d runs as it did before: %v", second, alive(first))
	}
	p, err := os.FindProcess(second)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill() // it lived for less than a minute, but was not the first
	third := next()
	if third == second || !alive(third) {
		t.Errorf("after %d had died, %d runs: %v", second, third, alive(third))
	}
	orders.Close()
	if err := <-ended; err != nil || alive(third) {
		t.Errorf("after the end of orders: %v, still runs: %v", err, alive(third))
	}
}

// A program that has worked is run again, however soon it ends.
func TestLauncherKeepsWhatWorks(t *testing.T) {
	orders, next, ended := launch(t, "echo $$; exec sleep 1000")
	first := next()
	io.WriteString(orders, Keep+"\n"+strings.Repeat("x", 1000)+"\n")
	second := next()
	p, err := os.FindProcess(second)
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if third := next(); third == second || first == second {
		t.Errorf("it ran as %d, %d, %d", first, second, third)
	}
	orders.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestLauncherOfWhatCannotRun(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{"exit 3", "exit status 3"},
		{"exit 0", "ended at once"},
	} {
		_, _, ended := launch(t, tt.script)
		if err := <-ended; err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", tt.script, err, tt.want)
		}
	}
	l := Launcher{Command: []string{"/no/such/program"}, Orders: strings.NewReader(""), Output: io.Discard}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := io.Pipe() // never ends
	l.Orders = r
	if err := l.Run(ctx); err == nil {
		t.Error("a program that is not there was run")
	}
}
