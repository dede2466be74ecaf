package leaklab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// netns is a network namespace without a name: it goes when the process does.
type netns struct {
	file  *os.File
	from  *os.File // where its thread came from
	calls chan func()
	home  chan error // whether the thread is back where it came from
}

// newNetns makes a namespace and a thread that lives in it.
func newNetns() (*netns, error) {
	n := &netns{calls: make(chan func()), home: make(chan error, 1)}
	made := make(chan error)
	go n.live(made)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return n, nil
}

func (n *netns) live(made chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// Never the main thread: /proc/self is about that one.
		done := make(chan struct{})
		go func() { defer close(done); n.live(made) }()
		<-done
		runtime.UnlockOSThread()
		return
	}
	err := n.enter()
	made <- err
	if err != nil {
		return // where the thread is now is not known: it ends with this goroutine
	}
	defer n.from.Close()
	for f := range n.calls {
		f()
	}
	// The thread goes home rather than end: a process that was started from it
	// before, by anybody, and is to die with its parent, would die with it.
	if err = unix.Setns(int(n.from.Fd()), unix.CLONE_NEWNET); err == nil {
		runtime.UnlockOSThread()
	}
	n.home <- err
}

func (n *netns) enter() (err error) {
	if n.from, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		n.from.Close()
		return err
	}
	n.file, err = os.Open("/proc/thread-self/ns/net")
	return err
}

// do runs f on a thread of the namespace: sockets that f makes and processes
// that it starts are inside. One f at a time; f starts no goroutine for that.
func (n *netns) do(f func() error) error {
	done := make(chan error)
	n.calls <- func() { done <- f() }
	return <-done
}

// path names the namespace for other processes.
func (n *netns) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

func (n *netns) close() {
	close(n.calls)
	<-n.home
	n.file.Close()
}
