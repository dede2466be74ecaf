package webapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a Chromium that a test steers as a person would: through
// DevTools' protocol over a pipe, JSON messages that end with a zero byte.
type browser struct {
	t       *testing.T
	w       io.Writer
	session string

	mu      sync.Mutex // guards below
	last    int
	answers map[int]chan message
	loaded  chan struct{} // receives when a page has loaded
	broken  []string      // what pages complained of: scripts and styles refused
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// patienceOfBrowser is how long anything may take, on a busy machine.
const patienceOfBrowser = 60 * time.Second

// newBrowser starts Chromium with one empty page, for the test's time. Where
// there is none the test says so and ends; on machines that check for others
// (CI=true) it fails.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no chromium: run make deps")
		}
		t.Skip("NOT TESTED: the pages in a browser, as there is no chromium: run make deps")
	}
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,900",
		"--user-data-dir="+filepath.Join(home, "profile"), "--remote-debugging-pipe", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // 3 and 4 in the browser
	said, err := os.Create(filepath.Join(home, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said // a file: its processes may hold it longer than the first lives
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toBrowser.Close()
	fromBrowser.Close()
	b := &browser{t: t, w: in, answers: map[int]chan message{}, loaded: make(chan struct{}, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(out)
	}()
	t.Cleanup(func() {
		if b.session != "" {
			b.send("", "Browser.close", nil)
		}
		in.Close()
		select {
		case <-read:
		case <-time.After(patienceOfBrowser):
		}
		cancel()
		cmd.Wait()
		out.Close()
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			for line := range strings.Lines(string(text)) {
				if !strings.Contains(line, "dbus") { // of a desktop that is not there
					t.Logf("chromium said: %s", strings.TrimSpace(line))
				}
			}
		}
	})
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "DOM", "Log"} {
		b.call(b.session, domain+".enable", nil, nil)
	}
	return b
}

// read passes the browser's messages on, until it ends.
func (b *browser) read(r io.Reader) {
	br := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := br.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, c := range b.answers {
				close(c)
			}
			b.answers = nil
			return
		}
		var m message
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		switch m.Method {
		case "":
			b.mu.Lock()
			if c := b.answers[m.ID]; c != nil {
				c <- m
				delete(b.answers, m.ID)
			}
			b.mu.Unlock()
		case "Page.loadEventFired":
			select {
			case b.loaded <- struct{}{}:
			default:
			}
		case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening":
			b.mu.Lock()
			b.broken = append(b.broken, m.Method+" "+string(m.Params))
			b.mu.Unlock()
		}
	}
}

// send sends a command; the channel gets the answer, or is closed.
func (b *browser) send(session, method string, params any) chan message {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	c := make(chan message, 1)
	if b.answers == nil {
		close(c)
		return c
	}
	b.answers[b.last] = c
	p, _ := json.Marshal(params)
	text, _ := json.Marshal(message{ID: b.last, Method: method, SessionID: session, Params: p})
	b.w.Write(append(text, 0))
	return c
}

func (b *browser) call(session, method string, params, result any) {
	b.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	select {
	case m, ok := <-b.send(session, method, params):
		if !ok {
			b.t.Fatalf("%s: the browser has ended", method)
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(patienceOfBrowser):
		b.t.Fatalf("%s: no answer from the browser", method)
	}
}

// load waits for the page that do leads to.
func (b *browser) load(what string, do func()) {
	b.t.Helper()
	for len(b.loaded) > 0 {
		<-b.loaded
	}
	do()
	select {
	case <-b.loaded:
	case <-time.After(patienceOfBrowser):
		b.t.Fatalf("%s: no page has loaded; there is %s", what, b.eval("document.documentElement.outerHTML"))
	}
}

// open goes to a URL.
func (b *browser) open(url string) {
	b.t.Helper()
	b.load(url, func() { b.call(b.session, "Page.navigate", map[string]any{"url": url}, nil) })
}

// eval returns what an expression in the page is, as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call(b.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s %s", expression, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	return fmt.Sprint(r.Result.Value)
}

// text is what a person sees.
func (b *browser) text() string { return b.eval("document.body.innerText") }

// element is JavaScript for the element that a selector finds, the one with
// these words in it if words is not empty.
func element(selector, words string) string {
	s, _ := json.Marshal(selector)
	w, _ := json.Marshal(words)
	return fmt.Sprintf("[...document.querySelectorAll(%s)].find(e => e.innerText.includes(%s) || e.value === %s || %s === '')", s, w, w, w)
}

// click presses the mouse on an element, and waits for the page it leads to.
func (b *browser) click(selector, words string) {
	b.t.Helper()
	b.load("clicking "+selector+" "+words, func() {
		where := b.eval("(() => { const e = " + element(selector, words) + "; if (!e) return ''; " +
			"for (let d = e.closest('details'); d; d = d.parentElement.closest('details')) d.open = true; " +
			"e.scrollIntoView({block: 'center'}); const r = e.getClientRects()[0]; return (r.x + r.width/2) + ' ' + (r.y + r.height/2) })()")
		var x, y float64
		if n, _ := fmt.Sscan(where, &x, &y); n != 2 {
			b.t.Fatalf("there is no %s %q to click: %s", selector, words, b.text())
		}
		for _, kind := range []string{"mousePressed", "mouseReleased"} {
			b.call(b.session, "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}, nil)
		}
	})
}

// fill types into a field.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	s, _ := json.Marshal(selector)
	b.eval(fmt.Sprintf("(() => { const e = document.querySelector(%s); e.focus(); e.select() })()", s))
	b.call(b.session, "Input.insertText", map[string]any{"text": text}, nil)
}

// choose picks a file in a form.
func (b *browser) choose(selector, path string) {
	b.t.Helper()
	s, _ := json.Marshal(selector)
	var r struct{ Result struct{ ObjectID string } }
	b.call(b.session, "Runtime.evaluate", map[string]any{"expression": "document.querySelector(" + string(s) + ")"}, &r)
	b.call(b.session, "DOM.setFileInputFiles", map[string]any{"files": []string{path}, "objectId": r.Result.ObjectID}, nil)
}

// quiet fails the test if a page tried to run or load what it must not.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.broken {
		if !strings.Contains(s, "favicon.ico") {
			b.t.Errorf("the browser complains: %s", s)
		}
	}
	b.broken = nil
}

// picture saves what the page looks like, for people, in the folder that
// TAHOE_PICTURES names.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("TAHOE_PICTURES")
	if dir == "" {
		return
	}
	var r struct{ Data []byte }
	b.call(b.session, "Page.captureScreenshot", map[string]any{"format": "png"}, &r)
	if err := os.WriteFile(filepath.Join(dir, name+".png"), r.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// quietBut is quiet for a page that complains of one thing, as it should.
func (b *browser) quietBut(of string) {
	b.t.Helper()
	b.mu.Lock()
	var rest []string
	for _, s := range b.broken {
		if !strings.Contains(s, of) {
			rest = append(rest, s)
		}
	}
	b.broken = rest
	b.mu.Unlock()
	b.quiet()
}
