package blacklist

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/format/caps"
)

// file is a cap of the reference's documentation, and its storage index.
const (
	file      = "URI:CHK:n7r3m6wmomelk4sep3kw5cvduq:os7ijw5c3maek7pg65e5254k2fzjflavtpejjyhshpsxuqzhcwwq:3:20:14861"
	fileIndex = "whpepioyrnff7orecjolvbudeu"
)

func parseCap(t *testing.T, text string) caps.Cap {
	t.Helper()
	c, err := caps.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rig is a list whose file is some seconds old whenever it is written.
type rig struct {
	t    *testing.T
	name string
	list *List
	log  bytes.Buffer
	at   time.Time
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, name: filepath.Join(t.TempDir(), "access.blacklist"), at: time.Unix(1_700_000_000, 0)}
	r.list = New(r.name, slog.New(slog.NewTextHandler(&r.log, nil)))
	return r
}

func (r *rig) write(text string) {
	r.t.Helper()
	r.at = r.at.Add(time.Second)
	if err := os.WriteFile(r.name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(r.name, r.at, r.at); err != nil {
		r.t.Fatal(err)
	}
}

// check expects an object to be prohibited for a reason; "-": not at all.
func (r *rig) check(text, want string) {
	r.t.Helper()
	err := r.list.Check(parseCap(r.t, text))
	got := "-"
	if e, ok := errors.AsType[*ProhibitedError](err); ok {
		got = e.Reason
		if e.Index.String() != fileIndex {
			r.t.Errorf("the index is %s", e.Index)
		}
	} else if err != nil {
		got = err.Error()
	}
	if got != want {
		r.t.Errorf("Check(%.12s…): %q, want %q", text, got, want)
	}
}

func TestList(t *testing.T) {
	r := newRig(t)
	r.check(file, "-")
	r.write("# nothing yet\n\n \t\n")
	r.check(file, "-")
	r.write("  " + fileIndex + "\t my puppy  told me to \r\n")
	r.check(file, "my puppy  told me to")
	verifier, ok := caps.Verifier(parseCap(t, file))
	if !ok {
		t.Fatal("no verify cap")
	}
	r.check(verifier.Reveal(), "my puppy  told me to")
	r.check("URI:LIT:nbswy3dp", "-")
	r.write(fileIndex) // a line that is not finished, and has no reason
	r.check(file, "")
	r.write("# " + fileIndex + " not any more\n")
	r.check(file, "-")
	r.write(fileIndex + " again\n")
	r.check(file, "again")
	if err := os.Remove(r.name); err != nil {
		t.Fatal(err)
	}
	r.check(file, "-")
}

// An older file put in place of a newer one counts too, and so does a change
// so soon after the last that the file's times cannot show it.
func TestChanges(t *testing.T) {
	r := newRig(t)
	r.write(fileIndex + " one\n")
	r.check(file, "one")
	r.at = r.at.Add(-time.Hour)
	r.write(fileIndex + " two\n")
	r.check(file, "two")

	now := r.at.Add(time.Second)
	r.list.now = func() time.Time { return now }
	r.write(fileIndex + " three\n")
	r.check(file, "three")
	r.at = r.at.Add(-time.Second) // the same times and size
	r.write(fileIndex + " forty\n")
	r.check(file, "forty")
}

// A line that makes no sense does not take the others with it.
func TestMalformed(t *testing.T) {
	r := newRig(t)
	r.write("what is this\nwhpepioyrnff7orecjolvbude\n" + fileIndex + " bad\nWHPEPIOYRNFF7ORECJOLVBUDEU x\n")
	r.check(file, "bad")
	if n := strings.Count(r.log.String(), "is not understood"); n != 3 || !strings.Contains(r.log.String(), "line=2") {
		t.Errorf("the log:\n%s", &r.log)
	}
	was := r.log.Len()
	r.check(file, "bad")
	if r.log.Len() != was {
		t.Errorf("it complains each time:\n%s", &r.log)
	}
}

// While the file cannot be read nothing is handed out.
func TestUnreadable(t *testing.T) {
	r := newRig(t)
	r.write(fileIndex + " bad\n")
	r.check(file, "bad")
	if err := os.Remove(r.name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.name, 0o700); err != nil { // opens, and cannot be read
		t.Fatal(err)
	}
	other := "URI:CHK:aaaaaaaaaaaaaaaaaaaaaaaaaa:os7ijw5c3maek7pg65e5254k2fzjflavtpejjyhshpsxuqzhcwwq:3:20:14861"
	for range 2 {
		if err := r.list.Check(parseCap(t, other)); !errors.Is(err, ErrUnreadable) || !Prohibited(err) {
			t.Errorf("a file that cannot be read: %v", err)
		}
	}
	if n := strings.Count(r.log.String(), "cannot be read"); n != 1 {
		t.Errorf("the log:\n%s", &r.log)
	}
	if err := r.list.Check(parseCap(t, "URI:LIT:nbswy3dp")); err != nil {
		t.Errorf("what is in its cap: %v", err)
	}
	if err := os.Remove(r.name); err != nil {
		t.Fatal(err)
	}
	r.check(file, "-")
}

func TestNil(t *testing.T) {
	var l *List
	if err := l.Check(parseCap(t, file)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fileIndex + " a reason\n# comment\nnonsense\n"))
	f.Add([]byte("\ufeff" + fileIndex + "\xff\xfe"))
	f.Fuzz(func(t *testing.T, text []byte) {
		reasons, wrong := parse(text)
		if len(reasons)+len(wrong) > bytes.Count(text, []byte("\n"))+1 {
			t.Errorf("%d and %d of %q", len(reasons), len(wrong), text)
		}
		for si, reason := range reasons {
			if _, err := ids.ParseIndex(si.String()); err != nil || len(reason) > maxReason+len("…") {
				t.Errorf("%s: %d bytes", si, len(reason))
			}
		}
	})
}
