package banana

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var bigCmp = cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })

// TestTokens: the bytes of each kind of value, as Foolscap 24.9 sends them.
func TestTokens(t *testing.T) {
	long, _ := new(big.Int).SetString("-1180591620717411303424", 10) // -2**70
	for _, tt := range []struct {
		name string
		v    any
		wire string
	}{
		{"none", nil, "0088 0087 0089"},
		{"true", true, "0088 0187 0181 0089"},
		{"false", false, "0088 0187 0081 0089"},
		{"zero", int64(0), "0081"},
		{"int", int64(579), "430481"},
		{"largest INT", int64(math.MaxInt32), "7f7f7f7f0781"},
		{"smallest LONGINT", int64(1 << 31), "0485 80000000"},
		{"LONGINT", int64(71267440128), "0585 1097ded600"},
		{"minus one", int64(-1), "0183"},
		{"least NEG", int64(math.MinInt32), "000000000883"},
		{"largest LONGNEG", int64(math.MinInt32 - 1), "0486 80000001"},
		{"least int64", int64(math.MinInt64), "0886 8000000000000000"},
		{"beyond int64", long, "0986 400000000000000000"},
		{"float", 1.5, "84 3ff8000000000000"},
		{"bytes", []byte("eq"), "0282 6571"},
		{"no bytes", []byte{}, "0082"},
		{"a word", []byte("set"), "0687"},
		{"text", "0.0", "0088 0887 0382302e30 0089"},
		{"list", List{int64(1), List(nil)}, "0088 0487 0181 0188 0487 0189 0089"},
		{"tuple", Tuple{[]byte("x")}, "0088 0587 018278 0089"},
		{"set", Set{int64(1)}, "0088 0687 0181 0089"},
		{"immutable set", FrozenSet{int64(1)}, "0088 0787 0181 0089"},
		{"dict", Dict{{[]byte("k"), int64(1)}}, "0088 0387 01826b 0181 0089"},
		{"copyable", Copyable{"a.B", Dict{{[]byte("k"), int64(1)}}}, "0088 1287 0382612e42 01826b 0181 0089"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e Encoder
			if err := e.Value(tt.v); err != nil {
				t.Fatal(err)
			}
			if want := unhex(t, tt.wire); !bytes.Equal(e.Buf, want) {
				t.Errorf("Value(%v) = %x; want %x", tt.v, e.Buf, want)
			}
			d := NewDecoder(iotest.OneByteReader(bytes.NewReader(e.Buf)), Limits{})
			d.Begin(1<<20, false)
			got, err := d.Value(Any())
			if diff := cmp.Diff(tt.v, got, bigCmp); err != nil || diff != "" {
				t.Errorf("decoded %v, %v (-want +got):\n%s", got, err, diff)
			}
			if _, err := d.Open(); err != io.EOF {
				t.Errorf("after the value: %v; want EOF", err)
			}
		})
	}
}

// TestOther: values that are sent and do not come back as they went.
func TestOther(t *testing.T) {
	var e Encoder
	for _, v := range []any{7, uint32(7), uint64(1) << 63, new(big.Int).SetInt64(7)} {
		if err := e.Value(v); err != nil {
			t.Errorf("Value(%T): %v", v, err)
		}
	}
	if want := unhex(t, "0781 0781 0885 8000000000000000 0781"); !bytes.Equal(e.Buf, want) {
		t.Errorf("got %x; want %x", e.Buf, want)
	}
	m := e.Mark()
	if err := e.Value(List{int64(1), struct{}{}}); err == nil {
		t.Error("a struct was encoded")
	}
	e.Reset(m)
	e.Close(e.Open("list"))
	if want := unhex(t, "0088 0487 0089"); !bytes.Equal(e.Buf[m.len:], want) {
		t.Errorf("after Reset: %x; want %x: the count of sequences starts where it was", e.Buf[m.len:], want)
	}
}

// call wraps tokens in a message, and follows it by another.
func message(t testing.TB, body string) *Decoder {
	b := append(unhex(t, "0088 0b87"), unhex(t, body)...)
	b = append(b, unhex(t, "0089 0988 0d87 0189")...)
	return NewDecoder(bytes.NewReader(b), Limits{})
}

// TestSchemas: what each schema takes, and that the message after a refused
// one is found.
func TestSchemas(t *testing.T) {
	const none, one, text = "0188 0087 0189", "0181", "0188 0887 018278 0189"
	for _, tt := range []struct {
		name   string
		schema *Schema
		wire   string // sequences in it begin at number 1
		want   any    // or a part of the violation
	}{
		{"int", Int(0, 1), one, int64(1)},
		{"int too large", Int(0, 0), one, "between 0 and 0"},
		{"int beyond", Size(), "0885 8000000000000000", "between"},
		{"neg", Size(), "0183", "between"},
		{"long int", Int(0, 1<<40), "0585 8000000000", int64(1 << 39)},
		{"endless int", Int(0, 1), "000185" + strings.Repeat("01", 128), "between"},
		{"longer int", Any(), "010185" + strings.Repeat("01", 129), "more than 128"},
		{"bytes", Bytes(2), "02824141", []byte("AA")},
		{"bytes too long", Bytes(1), "02824141", "2, of which 1 are allowed"},
		{"huge bytes", Bytes(1), "7f7f7f7f7f7f82", "of which 1"},
		{"fixed", Fixed(2), "0182 41", "1, of which 2 are wanted"},
		{"word", Bytes(4), "0087", []byte("none")},
		{"word too long", Bytes(3), "0087", "4, of which 3"},
		{"word for a fixed", Fixed(4), "0087", []byte("none")},
		{"text for bytes", Bytes(4), text, "text where bytes belongs"},
		{"text", Text(1), text, "x"},
		{"text too long", Text(0), text, "1, of which 0"},
		{"bytes for text", Text(1), "018278", "bytes where text belongs"},
		{"broken text", Text(1), "0188 0887 0182ff 0189", "not UTF-8"},
		{"text of two", Text(1), "0188 0887 018278 018278 0189", "STRING where the end"},
		{"bool", Bool(), "0188 0187 0181 0189", true},
		{"bool of two", Bool(), "0188 0187 0281 0189", "between 0 and 1"},
		{"none", None(), none, nil},
		{"none with something", None(), "0188 0087 0081 0189", "INT where the end"},
		{"int for none", None(), one, "a number where none belongs"},
		{"choice, first", Choice(None(), Size()), none, nil},
		{"choice, second", Choice(None(), Size()), one, int64(1)},
		{"choice, neither", Choice(None(), Size()), "0082", "bytes where one of several belongs"},
		{"list", ListOf(Size(), 2), "0188 0487 0181 0281 0189", List{int64(1), int64(2)}},
		{"list too long", ListOf(Size(), 1), "0188 0487 0181 0281 0189", "more than 1 values"},
		{"list of wrong things", ListOf(Size(), 1), "0188 0487 0082 0189", "bytes where a number belongs"},
		{"tuple for a list", ListOf(Size(), 1), "0188 0587 0189", "a tuple where a list belongs"},
		{"set", SetOf(Size(), 3), "0188 0687 0181 0181 0281 0189", Set{int64(1), int64(2)}},
		{"immutable set", SetOf(Size(), 3), "0188 0787 0181 0189", Set{int64(1)}},
		{"set of lists", Any(), "0188 0687 0288 0487 0289 0189", "no set can hold"},
		{"tuple", TupleOf(Size(), None()), "0188 0587 0181 0288 0087 0289 0189", Tuple{int64(1), nil}},
		{"tuple too short", TupleOf(Size(), None()), "0188 0587 0181 0189", "1 values where 2 belong"},
		{"tuple too long", TupleOf(Size()), "0188 0587 0181 0181 0189", "more than 1 values"},
		{"dict", DictOf(Size(), Bytes(1), 1), "0188 0387 0181 018278 0189", Dict{{int64(1), []byte("x")}}},
		{"dict too large", DictOf(Size(), Size(), 1), "0188 0387 0181 0181 0281 0281 0189", "more than 1 entries"},
		{"dict with a key twice", Any(), "0188 0387 0181 0181 0181 0281 0189", "there twice"},
		{"dict with true and one", Any(), "0188 0387 0288 0187 0181 0289 0181 0181 0281 0189", "there twice"},
		{"dict with half an entry", Any(), "0188 0387 0181 0189", "CLOSE where a value belongs"},
		{"dict with a list as key", Any(), "0188 0387 0288 0487 0289 0181 0189", "a key that is neither"},
		{"dict with a wrong value", DictOf(Size(), Size(), 1), "0188 0387 0181 0082 0189", "bytes where a number"},
		{"copyable", CopyableOf("A", Size(), 1), "0188 1287 018241 01826b 0181 0189", Copyable{"A", Dict{{[]byte("k"), int64(1)}}}},
		{"copyable of another class", CopyableOf("B", Size(), 1), "0188 1287 018241 0189", "another class"},
		{"copyable unexpected", Size(), "0188 1287 018241 0189", "an object where a number"},
		{"reference", Any(), "0188 0f87 0181 0189", "where none is allowed"},
		{"gift", Any(), "0188 1187 0181 0082 0189", "not allowed here"},
		{"unknown sequence", Any(), "0188 03827a7a7a 0189", "not allowed here"},
		{"long name of a sequence", Any(), "0188 1082" + strings.Repeat("7a", 16) + "0189", "unknown type"},
		{"number as the name of a sequence", Any(), "0188 0181 0189", "INT where a sequence's type"},
		{"end as the name of a sequence", Any(), "0188 0189", "CLOSE where a sequence's type"},
		{"a call inside", Any(), "0188 0b87 0189", "not allowed here"},
		{"float", Any(), "84 3ff8000000000000", 1.5},
		{"float for an int", Size(), "84 3ff8000000000000", "a float where a number"},
		{"aborted", Any(), "0188 0487 0181 018a 0189 008a", "aborted"},
		{"shared", Any(), "0188 0487 0288 0487 0181 0289 0388 0287 0281 0389 0189", List{List{int64(1)}, List{int64(1)}}},
		{"shared, of the wrong type", TupleOf(ListOf(Size(), 1), SetOf(Size(), 1)), "0188 0587 0288 0487 0289 0388 0287 0281 0389 0189", "a list where a set"},
		{"shared, with a wrong member", TupleOf(Any(), ListOf(Bytes(1), 1)), "0188 0587 0288 0487 0181 0289 0388 0287 0281 0389 0189", "a number where bytes"},
		{"in itself", Any(), "0188 0487 0288 0287 0181 0289 0189", "not complete"},
		{"in the future", Any(), "0188 0287 0981 0189", "not in this message"},
		{"in the past", Any(), "0188 0287 0081 0189", "not in this message, or not complete"},
		{"deep", Any(), strings.Repeat("0188 0487", 40) + strings.Repeat("0189", 40), "inside each other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := message(t, tt.wire)
			d.Begin(4096, false)
			if _, err := d.Open(); err != nil {
				t.Fatal(err)
			}
			got, err := d.Value(tt.schema)
			if want, ok := tt.want.(string); ok && tt.name != "text" {
				if v, ok := errors.AsType[*Violation](err); !ok || !strings.Contains(v.Why, want) {
					t.Errorf("got %v, %v; want a violation with %q", got, err, want)
				}
				if d.Skip(0) != nil && !strings.HasPrefix(tt.name, "huge") {
					t.Errorf("the rest could not be skipped")
				}
			} else {
				if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
					t.Fatalf("got %v, %v (-want +got):\n%s", got, err, diff)
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if strings.HasPrefix(tt.name, "huge") {
				return
			}
			d.Begin(4096, false)
			if what, err := d.Open(); what != "answer" || err != nil {
				t.Errorf("the next message is %q, %v; want an answer", what, err)
			}
		})
	}
}

// TestProtocolErrors end a connection.
func TestProtocolErrors(t *testing.T) {
	for _, tt := range []struct{ name, wire, want string }{
		{"number outside", "0181", "INT outside of any sequence"},
		{"close outside", "0189", "CLOSE outside"},
		{"wrong close", "0088 0b87 0189", "not that of the innermost"},
		{"open after open", "0088 0088", "where a sequence's type belongs"},
		{"old list", "0080", "invalid token type 0x80"},
		{"unknown token", "008b", "invalid token type 0x8b"},
		{"endless header", strings.Repeat("01", 11), "longer than 64 bits"},
		{"header of 70 bits", strings.Repeat("7f", 10) + "88", "longer than 64 bits"},
		{"word", "0088 1987", "not in the vocabulary"},
		{"long ERROR", "690f8d", "more than 1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(bytes.NewReader(unhex(t, tt.wire)), Limits{})
			d.Begin(4096, false)
			_, err := d.Open()
			if err == nil {
				_, err = d.Value(Any())
			}
			if _, ok := errors.AsType[*Violation](err); ok {
				err = d.Skip(0)
			}
			if p, ok := errors.AsType[*ProtocolError](err); !ok || !strings.Contains(p.Why, tt.want) {
				t.Errorf("got %v; want a protocol error with %q", err, tt.want)
			}
		})
	}
}

// TestEnds: io.EOF means a clean end and comes between messages only.
func TestEnds(t *testing.T) {
	whole := unhex(t, "0088 0b87 0181 0188 0487 03826162630189 0089")
	for n := range whole {
		d := NewDecoder(bytes.NewReader(whole[:n]), Limits{})
		d.Begin(4096, false)
		_, err := d.Open()
		for err == nil {
			_, err = d.Value(Any())
		}
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v; want %v", n, err, want)
		}
	}
}

// TestPings are answered wherever they stand, and PONGs are nothing.
func TestPings(t *testing.T) {
	var pings []uint64
	d := NewDecoder(bytes.NewReader(unhex(t, "8e 0088 078e 0b87 8f 018f 098e 0181 0089 8e 058d68656c6c6f")), Limits{})
	d.Ping = func(n uint64) error { pings = append(pings, n); return nil }
	d.Begin(4096, false)
	if what, err := d.Open(); what != "call" || err != nil {
		t.Fatal(what, err)
	}
	if v, err := d.Value(Any()); v != int64(1) || err != nil {
		t.Fatal(v, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var said *PeerError
	if err := d.Wait(); !errors.As(err, &said) || said.Text != "hello" {
		t.Errorf("got %v; want what the peer says", err)
	}
	if diff := cmp.Diff([]uint64{0, 7, 9, 0}, pings); diff != "" {
		t.Error(diff)
	}
	var e Encoder
	e.Ping(0)
	e.Pong(300)
	e.Error(strings.Repeat("x", 2000))
	if want := unhex(t, "8e 2c028f 68078d"); !bytes.HasPrefix(e.Buf, want) || len(e.Buf) != len(want)+1000 {
		t.Errorf("got %x", e.Buf[:20])
	}
}

// TestInto fills the caller's buffer, and stops when it is taken away.
func TestInto(t *testing.T) {
	var e Encoder
	want := bytes.Repeat([]byte("abc"), 100_000)
	e.Bytes(want)
	e.Bytes([]byte("set"))
	p := make([]byte, 400_000)
	d := NewDecoder(bytes.NewReader(e.Buf), Limits{})
	d.Begin(4096, false)
	got, err := d.Value(Into(p))
	if err != nil || !bytes.Equal(got.([]byte), want) || &got.([]byte)[0] != &p[0] {
		t.Errorf("got %d bytes, %v; want them in the buffer", len(got.([]byte)), err)
	}
	got, err = d.Value(Into(p))
	if err != nil || string(got.([]byte)) != "set" {
		t.Errorf("got %q, %v; want a word", got, err)
	}

	s := Into(p)
	clear(p)
	half := &cutting{r: bytes.NewReader(e.Buf), at: 150_000, then: s.Detach}
	d = NewDecoder(half, Limits{})
	d.Begin(4096, false)
	if _, err := d.Value(s); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(p[200_000:], make([]byte, 200_000)) {
		t.Error("bytes were written after Detach")
	}
	if v, err := d.Value(Any()); err != nil || string(v.([]byte)) != "set" {
		t.Errorf("the next value is %v, %v", v, err)
	}
	if _, err := NewDecoder(bytes.NewReader(e.Buf), Limits{}).Value(Into(p[:1000])); err == nil {
		t.Error("more was taken than there is room for")
	}
}

type cutting struct {
	r    io.Reader
	at   int
	then func()
}

func (c *cutting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.at > 0 && c.at <= n {
		c.then()
	}
	c.at -= n
	return n, err
}

// TestMemory: what is announced takes no memory before it arrives, and what is
// small on the wire is not large in memory.
func TestMemory(t *testing.T) {
	var announced Encoder
	announced.token(STRING, 1<<30)
	bomb := func() []byte { // each list holds the one before ten times
		var e Encoder
		e.Open("list")
		prev := e.Open("list")
		e.Close(prev)
		for range 20 {
			n := e.Open("list")
			for range 10 {
				r := e.Open("reference")
				e.Uint(prev)
				e.Close(r)
			}
			e.Close(n)
			prev = n
		}
		return e.Buf
	}()
	for _, tt := range []struct {
		name   string
		data   []byte
		budget int64
	}{
		{"announced", announced.Buf, 2 << 30},
		{"empty lists", bytes.Repeat(unhex(t, "0088 0487 0089"), 1_000_000), 1 << 20},
		{"ints", append(unhex(t, "0088 0487"), bytes.Repeat(unhex(t, "0081"), 1_000_000)...), 1 << 20},
		{"shared lists", bomb, 1 << 20},
		{"opens", bytes.Repeat(unhex(t, "0088 0487"), 1_000_000), 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d := NewDecoder(bytes.NewReader(tt.data), Limits{})
			d.Begin(tt.budget, true)
			var err error
			for err == nil {
				_, err = d.Value(Any())
			}
			if _, ok := errors.AsType[*Violation](err); ok {
				d.Skip(0)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
				t.Errorf("%d bytes of memory for %d bytes", got, len(tt.data))
			}
		})
	}
}

// TestLoans: large byte strings come from the pools and are given back.
func TestLoans(t *testing.T) {
	var e Encoder
	e.Value(List{make([]byte, 1<<20), make([]byte, 10), make([]byte, 100_000)})
	d := NewDecoder(bytes.NewReader(e.Buf), Limits{})
	d.Begin(2<<20, true)
	v, err := d.Value(Any())
	if err != nil {
		t.Fatal(err)
	}
	loans := d.Loans()
	if len(loans) != 2 || &loans[0][0] != &v.(List)[0].([]byte)[0] {
		t.Errorf("%d loans; want those two above 64 KiB", len(loans))
	}
	for _, b := range loans {
		PutBuffer(b)
	}
}

// TestBuffers have the room that was asked for, in few sizes.
func TestBuffers(t *testing.T) {
	for _, n := range []int{0, 1, 64 << 10, 68 << 10, 68<<10 + 1, 256 << 10, 1 << 20, 1<<20 + 4096, 1<<20 + 4097, 4 << 20, 5 << 20} {
		b := GetBuffer(n)
		if cap(b) < n || cap(b) > max(4*n, 68<<10) || len(b) != 0 {
			t.Errorf("GetBuffer(%d) has room for %d", n, cap(b))
		}
		PutBuffer(b)
	}
	PutBuffer(nil)
	b := grow(append(GetBuffer(0), "abc"...), 1<<20)
	if string(b) != "abc" || cap(b) != 1<<20+4096 {
		t.Errorf("grown to %d: %q", cap(b), b)
	}
}

// TestSkipIsBounded: a refused message is not read for ever.
func TestSkipIsBounded(t *testing.T) {
	for _, tt := range []struct{ name, wire string }{
		{"tokens", "0081"},
		{"sequences", "0088 0087 0089"},
		{"bytes", "40 82" + strings.Repeat("00", 64)},
		{"pings", "8a 8a"},
	} {
		endless := io.MultiReader(bytes.NewReader(unhex(t, "0088 0b87")), &repeat{b: unhex(t, tt.wire)})
		d := NewDecoder(endless, Limits{Skip: 1 << 20})
		d.Begin(100, false)
		d.Open()
		if _, ok := errors.AsType[*ProtocolError](d.Skip(0)); !ok {
			t.Errorf("%s: skipping went on", tt.name)
		}
	}
}

type repeat struct {
	b []byte
	i int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.b[r.i%len(r.b)]
		r.i++
	}
	return len(p), nil
}

func TestDictGet(t *testing.T) {
	d := Dict{{"k", int64(1)}, {[]byte("k"), int64(2)}}
	if v, ok := d.Get("k"); v != int64(2) || !ok {
		t.Errorf("Get = %v, %v; want the value of the bytes", v, ok)
	}
	if v, ok := d.Get("x"); v != nil || ok {
		t.Errorf("Get = %v, %v", v, ok)
	}
}

func Example() {
	var e Encoder
	n := e.Open("answer")
	e.Int(1)
	e.Value(Dict{{[]byte("size"), 579}})
	e.Close(n)

	d := NewDecoder(bytes.NewReader(e.Buf), Limits{})
	d.Begin(1000, false)
	what, _ := d.Open()
	req, _ := d.Uint()
	v, err := d.Value(DictOf(Bytes(10), Size(), 1))
	fmt.Println(what, req, err)
	size, _ := v.(Dict).Get("size")
	fmt.Println(size)
	// Output:
	// answer 1 <nil>
	// 579
}
