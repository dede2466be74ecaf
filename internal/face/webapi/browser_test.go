package webapi

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tahoe-go/internal/network/netx"
)

// evilName is a name of a file that would like to be more than a name.
const evilName = `<script>document.title='owned'; "quoted" & <b>bold <img src=x onerror=alert(1)> ' %2F`

// openGateway serves a gateway on the loopback network too, for a browser.
func openGateway(t *testing.T, g *gateway) (url string) {
	t.Helper()
	l, err := netx.Loopback{}.Listen(t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: 0})
	if err != nil {
		t.Fatal(err)
	}
	a, err := netx.AddrOf(l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, g.h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://127.0.0.1:" + strconv.Itoa(int(a.Port))
}

// A person makes a directory, and does with it what the pages offer.
func TestBrowser(t *testing.T) {
	g := newGateway(t, 5, nil)
	b := newBrowser(t)
	url := openGateway(t, g)
	b.open(url + "/")
	b.picture("start")
	b.click("button", "Make a directory")
	home := b.eval("location.href")
	if !strings.Contains(home, "/uri/URI%3ADIR2%3A") || !strings.HasSuffix(home, "/") {
		t.Fatalf("a new directory is shown at %s", home)
	}
	for _, want := range []string{"Link for reading", "0 children", "Upload a file", "New directory"} {
		if !strings.Contains(b.text(), want) {
			t.Errorf("an empty directory shows no %q:\n%s", want, b.text())
		}
	}
	b.picture("empty")

	// Upload, by choosing a file; and one with a name of its own.
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	if err := os.WriteFile(page, []byte("<html><body>hello <script>document.body.innerHTML='owned'</script></body></html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.choose(`input[name=file]`, page)
	b.click("button", "Upload")
	if b.eval("location.href") != home || !strings.Contains(b.text(), "page.html") {
		t.Fatalf("after an upload there is, at %s:\n%s", b.eval("location.href"), b.text())
	}
	b.choose(`input[name=file]`, page)
	b.eval(`document.querySelector('form details').open = true`)
	b.fill(`form input[name=name]`, evilName)
	b.click("button", "Upload")
	if !strings.Contains(b.text(), evilName) || b.eval("document.title") == "owned" {
		t.Errorf("a hostile name is shown as\n%s", b.text())
	}
	if n := b.eval("document.querySelectorAll('script, img').length"); n != "0" {
		t.Errorf("the page has %s scripts and images", n)
	}

	// A subdirectory, into and out of.
	b.fill(`input[name=name][placeholder=Name]`, "photos & films")
	b.click("button", "Make")
	b.click("td.name a", "photos & films")
	if b.eval("location.href") == home || !strings.Contains(b.text(), "0 children") {
		t.Errorf("a subdirectory shows\n%s", b.text())
	}
	sub := b.eval("location.href")
	b.open(home)
	b.picture("directory")

	// Rename, to a name that is free and to one that is not.
	b.click("tr:has(td.name a) td.acts a", "rename")
	b.picture("rename")
	if got := b.eval("document.querySelector('input[name=to_name]').value"); got != evilName {
		t.Errorf("the form for renaming has %q, want %q", got, evilName)
	}
	b.fill(`input[name=to_name]`, "tame.html")
	b.click("button", "Rename")
	if text := b.text(); !strings.Contains(text, "tame.html") || strings.Contains(text, "quoted") {
		t.Errorf("after renaming there is\n%s", text)
	}
	b.click("tr:has(td.name a) td.acts a", "rename")
	b.fill(`input[name=to_name]`, "tame.html")
	b.click("button", "Rename")
	if text := b.text(); !strings.Contains(text, "Conflict") || !strings.Contains(text, "already a child") {
		t.Errorf("renaming over another child shows\n%s", text)
	}
	b.quietBut("409")

	// Move into the subdirectory.
	b.open(home)
	b.click(`a[href*="rename-form"][href$="tame.html"]`, "rename")
	b.fill(`input[name=to_dir]`, capOf(t, sub))
	b.click("button", "Move")
	if strings.Contains(b.text(), "tame.html") {
		t.Errorf("after moving there is\n%s", b.text())
	}
	b.open(sub)
	if !strings.Contains(b.text(), "tame.html") {
		t.Errorf("where it was moved there is\n%s", b.text())
	}

	// What is stored runs nothing.
	b.click("td.name a", "tame.html")
	if got := strings.TrimSpace(b.text()); got != "hello" {
		t.Errorf("a stored page shows %q", got)
	}
	b.quietBut("sandbox")

	// Unlink: asks first, and shows the cap.
	b.open(home)
	b.click(`a[href*="unlink-form"][href$="page.html"]`, "unlink")
	b.picture("unlink")
	if !strings.Contains(b.text(), "URI:CHK:") {
		t.Errorf("before unlinking there is\n%s", b.text())
	}
	b.click("button", "Unlink")
	if text := b.text(); strings.Contains(text, "page.html") || !strings.Contains(text, "1 child") {
		t.Errorf("after unlinking there is\n%s", text)
	}

	// The read-only link shows the same and changes nothing.
	b.click(".caps .cap a", "URI:DIR2-RO:")
	b.picture("readonly")
	if text := b.text(); !strings.Contains(text, "photos & films") || strings.Contains(text, "Upload") || strings.Contains(text, "unlink") {
		t.Errorf("for readers there is\n%s", text)
	}
	b.click("td.acts a", "about")
	b.picture("about")
	b.click("form[action*=deep-stats] button", "Start")
	b.picture("counted")
	if !strings.Contains(b.text(), "Directories") {
		t.Errorf("counted:\n%s", b.text())
	}
	b.quiet()
}

// capOf is the cap in the URL of a page.
func capOf(t *testing.T, url string) string {
	t.Helper()
	_, rest, ok := strings.Cut(url, "/uri/")
	req, err := http.NewRequest("GET", "http://localhost/"+strings.TrimSuffix(rest, "/"), nil)
	if !ok || err != nil {
		t.Fatalf("no cap in %s: %v", url, err)
	}
	return strings.TrimPrefix(req.URL.Path, "/")
}

// A foreign page cannot make the browser change anything.
func TestBrowserForeignForm(t *testing.T) {
	g := newGateway(t, 5, nil)
	b := newBrowser(t)
	url := openGateway(t, g)
	dir := g.mkdir(t)
	foreign := filepath.Join(t.TempDir(), "foreign.html")
	form := `<form method=post enctype="multipart/form-data" action="` + url + `/uri/` + dir + `?t=mkdir&name=planted"><button>Win a prize</button></form>`
	if err := os.WriteFile(foreign, []byte(form), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open("file://" + foreign)
	b.click("button", "Win")
	if !strings.Contains(b.text(), "Forbidden") {
		t.Errorf("a foreign form shows\n%s", b.text())
	}
	if _, body := g.do(t, g.request(t, t.Context(), "GET", "/uri/"+dir+"?t=json", nil)); strings.Contains(body, "planted") {
		t.Error("a foreign form has changed a directory")
	}
}
