package foolscap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap/banana"
)

// The transcripts are sessions of Foolscap 24.9 between parts of Tahoe-LAFS
// 1.20, decrypted, as one side saw them.

// chunk is what went one way at one time.
type chunk struct {
	sent bool // by the side that logged, which the tests play with our code
	data []byte
}

// transcript is a session by its three parts.
type transcript struct{ plain, hello, banana []chunk }

func readTranscript(t testing.TB, name string) transcript {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".rawhex"))
	if err != nil {
		t.Fatal(err)
	}
	var tr transcript
	part := &tr.plain
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		switch {
		case len(w) < 3:
		case w[1] == "=" && w[2] == "startTLS":
			part = &tr.hello
		case w[1] == "=":
			part = &tr.banana
		default:
			data, err := hex.DecodeString(w[2])
			if err != nil {
				t.Fatal(err)
			}
			sent := w[1] == "S"
			if last := len(*part) - 1; last >= 0 && (*part)[last].sent == sent {
				(*part)[last].data = append((*part)[last].data, data...)
				continue
			}
			*part = append(*part, chunk{sent, data})
		}
	}
	return tr
}

func transcripts(t testing.TB) []string {
	names, err := filepath.Glob("testdata/*.rawhex")
	if err != nil || len(names) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(filepath.Base(n), ".rawhex")
	}
	return names
}

// blocksOf returns the hello blocks of one side.
func (tr transcript) blocksOf(t testing.TB, sent bool) []block {
	var all []byte
	for _, c := range tr.hello {
		if c.sent == sent {
			all = append(all, c.data...)
		}
	}
	var bs []block
	for r := bufio.NewReader(bytes.NewReader(all)); ; {
		b, err := readBlock(r)
		if err == io.EOF {
			return bs
		}
		if err != nil {
			t.Fatal(err)
		}
		bs = append(bs, b)
	}
}

// expect reads what our side must send.
func expect(t testing.TB, r io.Reader, what string, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: sent %d bytes, %v\n got %q\nwant %q", what, n, err, got[:n], want)
	}
}

// message is one call, answer or error of a transcript.
type message struct {
	sent   bool
	raw    []byte
	kind   string
	reqID  int64
	clid   int64
	method string
	args   []any
	named  []banana.Pair
	value  any
}

// mine and yours stand for references in decoded messages.
type (
	mine struct {
		clid        int64
		iface, furl string
	}
	yours struct{ clid int64 }
)

// messages cuts both directions into messages, in the order in which they
// were complete.
func (tr transcript) messages(t testing.TB) []message {
	var ms []message
	var streams [2][]byte
	var decoders [2]*banana.Decoder
	var sources [2]*bytes.Buffer
	for i := range decoders {
		sources[i] = &bytes.Buffer{}
		decoders[i] = banana.NewDecoder(sources[i], banana.Limits{})
		decoders[i].Refs = banana.Refs{
			Mine: func(clid int64, iface, furl []byte) (any, error) {
				return mine{clid, string(iface), string(furl)}, nil
			},
			Yours: func(clid int64) (any, error) { return yours{clid}, nil },
		}
	}
	for _, c := range tr.banana {
		i := 0
		if c.sent {
			i = 1
		}
		streams[i] = append(streams[i], c.data...)
		for {
			n := wholeMessage(streams[i])
			if n == 0 {
				break
			}
			sources[i].Write(streams[i][:n])
			m := decodeMessage(t, decoders[i])
			m.sent, m.raw = c.sent, streams[i][:n:n]
			ms = append(ms, m)
			streams[i] = streams[i][n:]
		}
	}
	if len(streams[0]) > 0 || len(streams[1]) > 0 {
		t.Fatalf("the transcript ends in the middle of a message")
	}
	return ms
}

// wholeMessage returns the length of the first message in b, 0 if there is no
// whole one. It knows tokens only.
func wholeMessage(b []byte) int {
	depth := 0
	for i := 0; i < len(b); {
		n, shift := 0, 0
		for ; i < len(b) && b[i] < 0x80; i++ {
			n |= int(b[i]) << shift
			shift += 7
		}
		if i == len(b) {
			return 0
		}
		kind := b[i]
		i++
		switch kind {
		case banana.OPEN:
			depth++
		case banana.CLOSE:
			depth--
		case banana.STRING, banana.LONGINT, banana.LONGNEG:
			i += n
		}
		if depth == 0 {
			if i > len(b) {
				return 0
			}
			return i
		}
	}
	return 0
}

func decodeMessage(t testing.TB, d *banana.Decoder) message {
	t.Helper()
	var m message
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("decoding a transcript: %v", err)
		}
	}
	var err error
	d.Begin(1<<20, false)
	m.kind, err = d.Open()
	must(err)
	m.reqID, err = d.Uint()
	must(err)
	if m.kind != "call" {
		m.value, err = d.Value(banana.Any())
		must(err)
		must(d.Close())
		return m
	}
	m.clid, err = d.Uint()
	must(err)
	m.method, err = d.Word(100)
	must(err)
	_, err = d.Open()
	must(err)
	n, err := d.Uint()
	must(err)
	for range n {
		v, err := d.Value(banana.Any())
		must(err)
		m.args = append(m.args, v)
	}
	for {
		more, err := d.More()
		must(err)
		if !more {
			break
		}
		k, err := d.Word(100)
		must(err)
		v, err := d.Value(banana.Any())
		must(err)
		m.named = append(m.named, banana.Pair{Key: k, Value: v})
	}
	must(d.Close())
	must(d.Close())
	return m
}

// TestTranscripts plays the side that logged with our code, and the other
// side's bytes as they were: every token that we send is the one that was
// sent.
func TestTranscripts(t *testing.T) {
	for _, name := range transcripts(t) {
		tr := readTranscript(t, name)
		if len(tr.hello) == 0 {
			continue // no TLS: see TestUnknownTub
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newPlayer(t, tr).play() })
		})
	}
}

// player plays one transcript.
type player struct {
	t      *testing.T
	tr     transcript
	tub    *Tub
	dialed bool
	peer   string
	far    net.Conn // what the other side would hold
	conn   *Conn

	objects map[int64]*Object // ours, by the transcript's number
	arrived chan *inboundCall
	calls   map[int64]*inboundCall // by reqID
	refs    map[int64][]*Ref
	results map[int64]chan outcome // of our calls
}

type inboundCall struct {
	method string
	args   []any
	reply  chan any
}

func newPlayer(t *testing.T, tr transcript) *player {
	p := &player{
		t: t, tr: tr, dialed: tr.plain[0].sent, objects: map[int64]*Object{}, arrived: make(chan *inboundCall),
		calls: map[int64]*inboundCall{}, refs: map[int64][]*Ref{}, results: map[int64]chan outcome{},
	}
	ours, theirs := tr.blocksOf(t, true)[0], tr.blocksOf(t, false)[0]
	p.peer = theirs["my-tub-id"]
	p.tub = newTub(Config{}, identity{tubID: ours["my-tub-id"], incarnation: ours["my-incarnation"], tls: tlsConfig(testCert(t, 0).TLS())})
	return p
}

func (p *player) play() {
	t := p.t
	p.plain()
	near, far := net.Pipe()
	p.far = far
	l := &link{raw: near, stage: time.Minute, dialed: p.dialed, want: p.peer}
	made := make(chan *Conn)
	go func() {
		c, err := p.tub.hello(l, stream{near, bufio.NewReader(near)}, p.peer)
		if err != nil {
			t.Errorf("hello: %v", err)
		}
		made <- c
	}()
	for _, c := range p.tr.hello {
		if c.sent {
			expect(t, far, "hello", c.data)
		} else if _, err := far.Write(c.data); err != nil {
			t.Fatal(err)
		}
	}
	p.conn = <-made
	if p.conn == nil {
		return
	}
	done := make(chan struct{})
	go func() { p.conn.run(); close(done) }()
	ms := p.tr.messages(t)
	p.prepare(ms)
	for i, m := range ms {
		p.step(fmt.Sprintf("message %d: %s %d %s", i, m.kind, m.reqID, m.method), m)
	}
	synctest.Wait()
	go far.Close()
	<-done
	p.tub.Close(t.Context())
}

// plain plays the part before TLS.
func (p *player) plain() {
	t := p.t
	near, far := net.Pipe()
	l := &link{raw: near, stage: time.Minute, dialed: p.dialed, want: p.peer}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p.dialed {
			p.tub.open(t.Context(), l, "127.0.0.1")
		} else {
			p.tub.accept(t.Context(), l, nil)
		}
	}()
	for _, c := range p.tr.plain {
		if c.sent {
			expect(t, far, "before TLS", c.data)
		} else {
			far.Write(c.data)
		}
	}
	if p.dialed {
		expect(t, far, "a TLS record of type handshake", []byte{22})
	}
	far.Close()
	<-done
}

// prepare makes the objects that our side will send and be called on.
func (p *player) prepare(ms []message) {
	lend := func(m mine) {
		if p.objects[m.clid] != nil {
			return
		}
		obj := &Object{Iface: m.iface, Methods: map[string]*Method{}}
		p.objects[m.clid] = obj
		if m.furl != "" {
			f, err := furl.ParseFURL(m.furl)
			if err != nil {
				p.t.Fatal(err)
			}
			p.tub.SetHints(f.Hints)
			p.tub.Register(f.Swissnum, obj)
		}
	}
	for _, m := range ms {
		if m.sent {
			walk(m.value, lend)
			for _, a := range m.args {
				walk(a, lend)
			}
		}
	}
	for _, m := range ms {
		if !m.sent && m.kind == "call" && m.clid != 0 {
			p.objects[m.clid].Methods[m.method] = p.method(m)
		}
	}
}

// walk finds the references to its sender's objects in a value.
func walk(v any, found func(mine)) {
	switch v := v.(type) {
	case mine:
		found(v)
	case banana.List:
		for _, e := range v {
			walk(e, found)
		}
	case banana.Tuple:
		for _, e := range v {
			walk(e, found)
		}
	case banana.Set:
		for _, e := range v {
			walk(e, found)
		}
	case banana.Dict:
		for _, e := range v {
			walk(e.Value, found)
		}
	}
}

func (p *player) method(m message) *Method {
	var args []Arg
	for range m.args {
		args = append(args, Arg{Schema: banana.Any()})
	}
	for _, n := range m.named {
		args = append(args, Arg{Name: n.Key.(string), Schema: banana.Any()})
	}
	return &Method{Args: args, Concurrent: true, Do: func(_ context.Context, c *Call) (any, error) {
		in := &inboundCall{c.name, c.args, make(chan any)}
		p.arrived <- in
		return <-in.reply, nil
	}}
}

// step plays one message.
func (p *player) step(what string, m message) {
	t := p.t
	switch {
	case m.sent && m.kind == "call" && m.method == "decref":
		for _, r := range p.refs[m.named[0].Value.(int64)] {
			r.Release()
		}
	case m.sent && m.kind == "call":
		result := make(chan outcome, 1)
		p.results[m.reqID] = result
		args, named := p.convertAll(m.args), m.named
		go func() {
			v, err := p.conn.call(t.Context(), m.clid, m.method, banana.Any(), args, named)
			result <- outcome{v, err}
		}()
	case m.sent && m.kind == "answer":
		if in := p.calls[m.reqID]; in != nil { // else the broker answers
			in.reply <- p.convert(m.value)
		}
	case m.sent:
		t.Fatalf("%s: cannot play this", what)
	}
	if m.sent {
		expect(t, p.far, what, m.raw)
		return
	}
	if _, err := p.far.Write(m.raw); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	switch {
	case m.kind == "call" && m.clid != 0:
		in := <-p.arrived
		p.calls[m.reqID] = in
		if diff := cmp.Diff(m.args, p.stripAll(in.args), cmp.AllowUnexported(mine{}, yours{})); diff != "" {
			t.Errorf("%s: arguments (-want +got):\n%s", what, diff)
		}
	case m.kind == "answer" && p.results[m.reqID] != nil:
		o := <-p.results[m.reqID]
		if o.err != nil {
			t.Fatalf("%s: %v", what, o.err)
		}
		if diff := cmp.Diff(m.value, p.strip(o.value, func(r *Ref) *Ref { return r }), cmp.AllowUnexported(mine{}, yours{})); diff != "" {
			t.Errorf("%s: result (-want +got):\n%s", what, diff)
		}
	}
}

// convert makes of a transcript's value what our code takes.
func (p *player) convert(v any) any {
	return swap(v, func(v any) any {
		switch v := v.(type) {
		case mine:
			return p.objects[v.clid]
		case yours:
			return p.refs[v.clid][0]
		}
		return v
	})
}

func (p *player) convertAll(vs []any) []any { return p.convert(banana.List(vs)).(banana.List) }

// strip makes of our value what a transcript has, and keeps the references.
func (p *player) strip(v any, keep func(*Ref) *Ref) any {
	return swap(v, func(v any) any {
		switch v := v.(type) {
		case *Ref:
			clid := v.to.clid
			v = keep(v)
			p.refs[clid] = append(p.refs[clid], v)
			first := len(p.refs[clid]) == 1
			m := mine{clid: clid}
			if f, ok := v.FURL(); first && ok {
				m.furl = f.Reveal()
			}
			if first {
				m.iface = v.Iface()
			}
			return m
		case *Object:
			return yours{p.conn.lentBy[v].clid}
		}
		return v
	})
}

func (p *player) stripAll(vs []any) []any {
	if vs == nil {
		return nil
	}
	l := []any(p.strip(banana.List(vs), (*Ref).Hold).(banana.List))
	if len(l) == 0 {
		return nil
	}
	return l
}

// swap replaces the leaves of a value.
func swap(v any, leaf func(any) any) any {
	all := func(vs []any) []any {
		var out []any
		for _, v := range vs {
			out = append(out, swap(v, leaf))
		}
		return out
	}
	switch v := v.(type) {
	case banana.List:
		return banana.List(all(v))
	case banana.Tuple:
		return banana.Tuple(all(v))
	case banana.Set:
		return banana.Set(all(v))
	case banana.Dict:
		var d banana.Dict
		for _, p := range v {
			d = append(d, banana.Pair{Key: p.Key, Value: swap(p.Value, leaf)})
		}
		return d
	}
	return leaf(v)
}
