package banana

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seeds are what each side of the recorded sessions sent, after the
// negotiation.
func seeds(f *testing.F) [][]byte {
	names, err := filepath.Glob("../testdata/*.rawhex")
	if err != nil || len(names) == 0 {
		f.Fatal("no transcripts", err)
	}
	var out [][]byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "= switchToBanana")
		sides := map[string][]byte{}
		for line := range strings.Lines(after) {
			if w := strings.Fields(line); len(w) == 3 && len(w[1]) == 1 {
				b, _ := hex.DecodeString(w[2])
				sides[w[1]] = append(sides[w[1]], b...)
			}
		}
		out = append(out, sides["S"], sides["R"])
	}
	return out
}

// FuzzDecode reads messages of any values: what is understood can be encoded,
// and decodes to the same.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	refs := Refs{
		Mine:  func(clid int64, _, _ []byte) (any, error) { return clid, nil },
		Yours: func(clid int64) (any, error) { return clid, nil },
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewDecoder(bytes.NewReader(in), Limits{})
		d.Refs = refs
		for {
			d.Begin(64<<10, true)
			_, err := d.Open()
			var vs List
			for err == nil {
				var more bool
				if more, err = d.More(); !more {
					break
				}
				var v any
				if v, err = d.Value(Any()); err == nil {
					vs = append(vs, v)
				}
			}
			if err == nil {
				err = d.Close()
			}
			if err == nil {
				again(t, vs)
				continue
			}
			if _, ok := errors.AsType[*Violation](err); ok {
				err = d.Skip(0)
			}
			if err != nil {
				known(t, err)
				return
			}
		}
	})
}

// known fails for errors that callers do not expect.
func known(t *testing.T, err error) {
	if _, ok := errors.AsType[*ProtocolError](err); ok {
		return
	}
	if _, ok := errors.AsType[*PeerError](err); ok {
		return
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("unexpected error %v", err)
	}
}

func again(t *testing.T, vs List) {
	var e Encoder
	if err := e.Value(vs); err != nil {
		t.Fatalf("encoding what was decoded: %v", err)
	}
	d := NewDecoder(bytes.NewReader(e.Buf), Limits{Depth: 100})
	d.Begin(1<<30, false)
	got, err := d.Value(Any())
	if err != nil {
		t.Fatalf("decoding what was encoded: %v", err)
	}
	var e2 Encoder
	e2.Value(got)
	if !bytes.Equal(e.Buf, e2.Buf) {
		t.Fatal(cmp.Diff(e.Buf, e2.Buf))
	}
}

// FuzzSchema reads with a schema of every kind.
func FuzzSchema(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	any := Choice(Size(), Bytes(1000), None(), Bool(), Text(100), Reference())
	call := Choice(any, ListOf(Choice(any, TupleOf(any, any)), 8), SetOf(Int(0, 255), 256), DictOf(Choice(Size(), Bytes(100)), Choice(any, DictOf(any, any, 10), TupleOf(ListOf(any, 3), ListOf(any, 3), any)), 4),
		TupleOf(any, any, any), CopyableOf("twisted.python.failure.Failure", Choice(Bytes(2000), ListOf(any, 3)), 4))
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewDecoder(bytes.NewReader(in), Limits{})
		d.Begin(64<<10, true)
		for {
			_, err := d.Value(call)
			if _, ok := errors.AsType[*Violation](err); ok {
				err = d.Skip(0)
			}
			if err != nil {
				known(t, err)
				return
			}
		}
	})
}
