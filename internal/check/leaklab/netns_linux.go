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
	calls chan func()
}

// newNetns makes a namespace and a thread that lives in it.
func newNetns() (*netns, error) {
	n := &netns{calls: make(chan func())}
	made := make(chan error)
	go n.live(made)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return n, nil
}

func (n *netns) live(made chan<- error) {
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	if unix.Gettid() == os.Getpid() {
		// Never the main thread: /proc/self is about that one.
		done := make(chan struct{})
		go func() { defer close(done); n.live(made) }()
		<-done
		return
	}
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		n.file, err = os.Open("/proc/thread-self/ns/net")
	}
	made <- err
	if err != nil {
		return
	}
	for f := range n.calls {
		f()
	}
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
	n.file.Close()
}
