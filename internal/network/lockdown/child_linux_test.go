//go:build amd64 || arm64

package lockdown

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A lock-down cannot be undone, so every one happens in a process of its own:
// this binary again, told by these variables what to be.
const (
	orderEnv     = "LOCKDOWN_TEST_ORDER"     // an order: lock down and probe
	inheritorEnv = "LOCKDOWN_TEST_INHERITOR" // make a UDP socket and say how that went
	launcherEnv  = "LOCKDOWN_TEST_LAUNCHER"  // be a launcher of inheritors
	elderEnv     = "LOCKDOWN_TEST_ELDER"     // wait for the end of stdin

	quick = "GORACE=atexit_sleep_ms=0" // a process under the race detector lingers for a second otherwise
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(inheritorEnv) != "":
		fmt.Println(verdict(makeSocket(unix.AF_INET, unix.SOCK_DGRAM)))
		if os.Getenv(inheritorEnv) == "stay" {
			time.Sleep(time.Hour) // until it is stopped
		}
	case os.Getenv(launcherEnv) != "":
		l := Launcher{Command: []string{"/proc/self/exe"}, Env: []string{inheritorEnv + "=stay", quick}, Orders: os.Stdin, Output: os.Stdout}
		if err := l.Run(context.Background()); err != nil {
			fmt.Println(err)
		}
	case os.Getenv(elderEnv) != "":
		io.Copy(io.Discard, os.Stdin)
	case os.Getenv(orderEnv) != "":
		var o order
		if err := json.Unmarshal([]byte(os.Getenv(orderEnv)), &o); err != nil {
			panic(err)
		}
		json.NewEncoder(os.Stdout).Encode(o.obey())
	default:
		os.Exit(m.Run())
	}
}

// order is what a child is to do, and the places it is to try. All are on
// loopback: without a lock-down, nothing it sends leaves the machine.
type order struct {
	Free bool             // no lock-down at all
	Tor  []netip.AddrPort // of the level
	Lie  string           // have the kernel lie about its means: see lies

	Launch bool // launch tor and use it, and nothing else

	Dir            string
	Elsewhere4     netip.AddrPort // ports that are not tor's
	Elsewhere6     netip.AddrPort
	Tor4, TorOther netip.AddrPort // the same port, on two addresses
	Tor6           netip.AddrPort
	Multipath      netip.AddrPort
	UDP            netip.AddrPort
	Socket         string // a unix socket outside
	Abstract       string
}

// result is what became of it.
type result struct {
	Missing  string            // what the kernel lacks
	Failed   string            // any other error of Apply
	Report   Report            //
	Verdicts map[string]string // by probe
	Unsure   string            // of the test itself
}

// verdict puts the outcome of a try into a word.
func verdict(err error) string {
	switch {
	case err == nil, errors.Is(err, unix.EINPROGRESS):
		return "open"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "refused"
	case errors.Is(err, unix.ENOSYS):
		return "absent"
	}
	return err.Error()
}

// lies are filters under which the kernel does not do what it is asked, and
// some of them say it did.
var lies = map[string][]bpf.Instruction{
	"no landlock":   lie(unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS),
	"landlock off":  lie(unix.SYS_LANDLOCK_CREATE_RULESET, unix.EOPNOTSUPP),
	"no seccomp":    lie(unix.SYS_SECCOMP, unix.ENOSYS),
	"false success": lie(unix.SYS_LANDLOCK_RESTRICT_SELF, 0),
	"no rules":      lie(unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EINVAL),
}

func lie(call uint32, answer unix.Errno) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: atCall, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(answer)},
		allow,
	}
}

func (o order) obey() (r result) {
	if o.Launch {
		return o.withTor()
	}
	s, err := o.setUp()
	if err != nil {
		r.Unsure = err.Error()
		return r
	}
	if l := lies[o.Lie]; l != nil {
		if err := installFilter(l); err != nil {
			r.Unsure = err.Error()
			return r
		}
	}
	if !o.Free {
		r.Report, err = Apply(TorPorts(o.Tor...))
		if missing, ok := errors.AsType[*MissingError](err); ok {
			r.Missing = missing.Error()
			return r
		} else if err != nil {
			r.Failed = err.Error()
			return r
		}
	}
	r.Verdicts = map[string]string{}
	for _, p := range probes {
		if p.lockedOnly && o.Free {
			continue
		}
		r.Verdicts[p.name] = verdict(p.try(s))
	}
	return r
}

// scene is what a child has open when the lock-down comes.
type scene struct {
	order
	web       net.Listener // as the gateway's
	unix      net.Listener
	accepted  []int        // connections that came in
	multipath int          // one that came in by multipath TCP; -1: there is none
	tcp, udp  int          // sockets made before, unused
	elder     *exec.Cmd    // a process started before, as tor would be
	launcher  func() error // has a launcher run its program again
	threads   []*thread
}

func (o order) setUp() (*scene, error) {
	s := &scene{order: o, multipath: -1}
	var err error
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false) // as netx does; Go's own choice is true
	if s.web, err = lc.Listen(noContext, "tcp4", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	for range 5 {
		fd, err := takeIn(s.web)
		if err != nil {
			return nil, err
		}
		s.accepted = append(s.accepted, fd)
	}
	if s.unix, err = net.Listen("unix", filepath.Join(o.Dir, "own")); err != nil {
		return nil, err
	}
	lc.SetMultipathTCP(true)
	if l, err := lc.Listen(noContext, "tcp4", "127.0.0.1:0"); err == nil {
		if s.multipath, err = takeIn(l); err != nil {
			return nil, err
		}
	}
	if s.tcp, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		return nil, err
	}
	if s.udp, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); err != nil {
		return nil, err
	}
	if err := s.startLauncher(); err != nil {
		return nil, err
	}
	s.elder = exec.Command("/proc/self/exe")
	s.elder.Env = []string{elderEnv + "=1", quick}
	stdin, err := s.elder.StdinPipe()
	if err != nil {
		return nil, err
	}
	kept = append(kept, stdin)
	if err := s.elder.Start(); err != nil {
		return nil, err
	}
	for range 8 {
		s.threads = append(s.threads, newThread())
	}
	for range 3 {
		go churn()
	}
	return s, nil
}

// takeIn connects to l and returns a descriptor of the accepted end.
func takeIn(l net.Listener) (int, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	d.SetMultipathTCP(true) // falls back
	there, err := d.Dial("tcp4", l.Addr().String())
	if err != nil {
		return -1, err
	}
	kept = append(kept, there)
	here, err := l.Accept()
	if err != nil {
		return -1, err
	}
	f, err := here.(*net.TCPConn).File()
	kept = append(kept, here, f)
	if err != nil {
		return -1, err
	}
	return int(f.Fd()), nil
}

// kept are connections that stay open to the end: closing one would disturb
// what is done with its other end.
var kept []io.Closer

// thread is a thread of the system that exists before the lock-down.
type thread struct {
	do   chan func() error
	done chan error
}

func newThread() *thread {
	t := &thread{make(chan func() error), make(chan error)}
	go func() {
		runtime.LockOSThread()
		for f := range t.do {
			t.done <- f()
		}
	}()
	t.run(func() error { return nil })
	return t
}

func (t *thread) run(f func() error) error {
	t.do <- f
	return <-t.done
}

// churn has threads come and go, and be in system calls, while the lock-down
// falls.
func churn() {
	for {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // and never unlocks: the thread ends with it
			os.ReadFile("/proc/self/stat")
			close(done)
		}()
		<-done
	}
}

// everyThread returns the first success, so that one free thread is enough to
// show.
func (s *scene) everyThread(f func() error) error {
	var refused error
	for _, t := range s.threads {
		err := t.run(f)
		if err == nil {
			return nil
		}
		refused = err
	}
	var wg sync.WaitGroup
	free := make(chan bool, 64)
	for range 64 { // threads that the runtime makes for them now
		wg.Go(func() {
			runtime.LockOSThread()
			if f() == nil {
				free <- true
			}
		})
	}
	wg.Wait()
	if len(free) > 0 {
		return nil
	}
	return refused
}

// inheritor runs a program that the lock-down must hold too.
func (s *scene) inheritor() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{inheritorEnv + "=1", quick}
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	switch string(out) {
	case "open\n":
		return nil
	case "refused\n":
		return unix.EACCES
	}
	return fmt.Errorf("it says %q", out)
}

// startLauncher starts a launcher, as is done before a lock-down, and its
// program for the first time.
func (s *scene) startLauncher() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{launcherEnv + "=1", quick}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	kept = append(kept, orders, out)
	lines := bufio.NewReader(out)
	says := func() error {
		switch line, err := lines.ReadString('\n'); {
		case err != nil:
			return err
		case line == "open\n":
			return nil
		case line == "refused\n":
			return unix.EACCES
		default:
			return errors.New(line)
		}
	}
	s.launcher = func() error {
		io.WriteString(orders, "again\n")
		return says()
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return says()
}

// served has a stranger, the parent, come in at the web port.
func (s *scene) served() error {
	fmt.Printf("come %s\n", s.web.Addr())
	s.web.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	c, err := s.web.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || line != "hello\n" {
		return fmt.Errorf("heard %q, %v", line, err)
	}
	_, err = io.WriteString(c, "welcome\n")
	return err
}

// start runs a child and returns its result.
func (o order) start(t *testing.T, nobody bool) result {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // which nobody may run, wherever it lies
	cmd.Env = append(os.Environ(), orderEnv+"="+string(text), quick)
	cmd.Stderr = os.Stderr
	if nobody {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var r result
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var addr string
		if _, err := fmt.Sscanf(lines.Text(), "come %s", &addr); err == nil {
			comeIn(t, addr)
		} else if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Logf("the child says: %s", lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the child: %v", err)
	}
	if r.Unsure != "" {
		t.Fatalf("the child could not be set up: %s", r.Unsure)
	}
	return r
}

func comeIn(t *testing.T, addr string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "hello\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "welcome\n" {
		t.Errorf("the locked-down child answers %q, %v", line, err)
	}
}
