package webapi

import (
	"encoding/json"
	"strings"
	"testing"
)

// Browsers change line ends in what they send with a form; children that have
// them in their names are renamed and unlinked all the same.
func TestBrowserOddNames(t *testing.T) {
	g := newGateway(t, 5, nil)
	b := newBrowser(t)
	url := openGateway(t, g)
	children, err := json.Marshal(map[string]any{
		"two\nlines": []any{"filenode", map[string]string{"ro_uri": "URI:LIT:nbswy3dp"}}, "a\rb\r\nc & ?=d#e": []any{"filenode", map[string]string{"ro_uri": "URI:LIT:nbswy3dp"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, dir := g.do(t, g.request(t, t.Context(), "POST", "/uri?t=mkdir-with-children", strings.NewReader(string(children))))
	home := url + "/uri/" + dir + "/"
	b.open(home)
	b.click(`a[href*="rename-form"][href*="two"]`, "rename")
	b.fill(`input[name=to_name]`, "one line")
	b.click("button", "Rename")
	if text := b.text(); !strings.Contains(text, "one line") || strings.Contains(text, "two") {
		t.Errorf("after renaming there is\n%s", text)
	}
	b.click(`a[href*="unlink-form"][href*="name=a"]`, "unlink")
	b.click("button", "Unlink")
	if text := b.text(); !strings.Contains(text, "1 child") || strings.Contains(text, "?=d#e") {
		t.Errorf("after unlinking there is\n%s", text)
	}
	b.quiet()
}

// A text is shown as what it is.
func TestBrowserText(t *testing.T) {
	g := newGateway(t, 5, nil)
	b := newBrowser(t)
	url := openGateway(t, g)
	const text = "Grüße, 日本語"
	_, file := g.do(t, g.request(t, t.Context(), "PUT", "/uri", strings.NewReader(text)))
	b.open(url + "/file/" + file + "/@@named=/letter.txt")
	if got := strings.TrimSpace(b.text()); got != text {
		t.Errorf("it shows %q, want %q", got, text)
	}
	b.quietBut("sandbox")
}
