package introducer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// The transcripts are sessions of nodes of Tahoe-LAFS 1.20 with their
// introducer. Package foolscap replays them token by token; here each side's
// calls are what counts: ours must make the same ones, and answer the same.

// message is one call or answer of a transcript.
type message struct {
	kind   string
	id     int64
	method string
	args   []any
	value  any
}

// reference stands for a reference; only its interface is compared.
type reference struct{ Iface string }

// readTranscript returns what the node sent and what the introducer sent,
// without what Foolscap does by itself.
func readTranscript(t *testing.T, name string) (node, hub []message) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".rawhex")
	if err != nil {
		t.Fatal(err)
	}
	streams := map[string]*bytes.Buffer{"S": {}, "R": {}}
	parts := 0
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		if len(w) > 1 && w[1] == "=" {
			parts++
		} else if len(w) > 2 && parts == 2 {
			data, err := hex.DecodeString(w[2])
			if err != nil {
				t.Fatal(err)
			}
			streams[w[1]].Write(data)
		}
	}
	return decodeAll(t, streams["S"]), decodeAll(t, streams["R"])
}

func decodeAll(t *testing.T, r io.Reader) (ms []message) {
	t.Helper()
	d := banana.NewDecoder(r, banana.Limits{})
	d.Refs.Mine = func(_ int64, iface, _ []byte) (any, error) { return reference{string(iface)}, nil }
	for {
		d.Begin(1<<20, false)
		var m message
		var err error
		var n int64
		if m.kind, err = d.Open(); errors.Is(err, io.EOF) {
			return ms
		}
		if err == nil {
			m.id, err = d.Uint()
		}
		if err == nil && m.kind == "answer" {
			m.value, err = d.Value(banana.Any())
		}
		if err == nil && m.kind == "call" {
			var clid int64
			clid, err = d.Uint()
			m.method, _ = d.Word(100)
			d.Open()
			n, _ = d.Uint()
			for range n {
				v, err := d.Value(banana.Any())
				if err != nil {
					t.Fatal(err)
				}
				m.args = append(m.args, v)
			}
			if clid == 0 {
				m.kind = "lookup"
			}
		}
		if err == nil {
			err = d.Skip(0)
		}
		if err != nil {
			t.Fatalf("decoding a transcript: %v", err)
		}
		ms = append(ms, m)
	}
}

// find returns the call of a method, and the answer to it that the other side
// gave.
func find(t *testing.T, from, other []message, method string) (call, answer message) {
	t.Helper()
	for _, m := range from {
		if m.kind == "call" && m.method == method {
			for _, a := range other {
				if a.kind == "answer" && a.id == m.id {
					return m, a
				}
			}
		}
	}
	t.Fatalf("no %s in the transcript", method)
	return
}

// shown replaces references in a call's arguments.
func shown(args []any) []any {
	out := []any{}
	for _, a := range args {
		if r, ok := a.(*foolscap.Ref); ok {
			a = reference{r.Iface()}
		}
		out = append(out, a)
	}
	return out
}

// TestTranscriptsServer: our introducer, given what the nodes sent to theirs,
// answers what theirs answered.
func TestTranscriptsServer(t *testing.T) {
	for _, name := range []string{"server-introducer", "client-introducer"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				node, hub := readTranscript(t, name)
				s, _ := r.hub(Limits{})
				announced := make(chan []any, 1)
				subscriber := &foolscap.Object{Iface: ifaceSubscriber, Methods: map[string]*foolscap.Method{"announce_v2": {
					Args: []foolscap.Arg{{Name: "announcements", Schema: banana.Any()}},
					Do: func(_ context.Context, c *foolscap.Call) (any, error) {
						announced <- []any{copied(c.Value(0))}
						return nil, nil
					},
				}}}
				ref, err := r.tub("alice", 1).Dial(t.Context(), s.FURL(), foolscap.DialOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if ref.Iface() != ifaceService {
					t.Errorf("interface %q", ref.Iface())
				}
				said, _ := find(t, hub, node, "announce_v2")
				if name == "client-introducer" { // somebody else has published
					triple := said.args[0].(banana.Set)[0]
					if err := publishRaw(t, r.tub("bob", 2), s.FURL(), triple); err != nil {
						t.Fatal(err)
					}
				}
				for _, m := range node {
					if m.kind != "call" {
						continue
					}
					_, want := find(t, node, hub, m.method)
					args := append([]any(nil), m.args...)
					for i, a := range args {
						if re, ok := a.(reference); ok {
							args[i] = &foolscap.Object{}
							if re.Iface != "" {
								args[i] = subscriber
							}
						}
					}
					got, err := ref.Call(t.Context(), m.method, banana.Any(), args...)
					if err != nil {
						t.Fatalf("%s: %v", m.method, err)
					}
					if m.method == "get_version" {
						want.value.(banana.Dict)[0].Value = []byte("tahoe-go/0.1.0")
					}
					if diff := cmp.Diff(want.value, got); diff != "" {
						t.Errorf("%s answers (-want +got):\n%s", m.method, diff)
					}
				}
				if diff := cmp.Diff(said.args, <-announced); diff != "" {
					t.Errorf("announced (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// copied copies the bytes of a value that outlives its call.
func copied(v any) any {
	switch v := v.(type) {
	case banana.Set:
		var out banana.Set
		for _, e := range v {
			out = append(out, copied(e))
		}
		return out
	case banana.Tuple:
		var out banana.Tuple
		for _, e := range v {
			out = append(out, copied(e))
		}
		return out
	case banana.Dict:
		var out banana.Dict
		for _, p := range v {
			out = append(out, banana.Pair{Key: copied(p.Key), Value: copied(p.Value)})
		}
		return out
	case []byte:
		return bytes.Clone(v)
	}
	return v
}

// TestTranscriptsClient: our client, with an introducer that answers as theirs
// did, makes the calls that their nodes made, and understands what it is told.
func TestTranscriptsClient(t *testing.T) {
	for _, name := range []string{"server-introducer", "client-introducer"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				t := r.t
				node, hub := readTranscript(t, name)
				said, saidAnswer := find(t, hub, node, "announce_v2")
				var made []message
				play := &foolscap.Object{Iface: ifaceService, Methods: map[string]*foolscap.Method{}}
				for _, method := range []string{"get_version", "publish_v2", "subscribe_v2"} {
					var args []foolscap.Arg
					for range serverMethods[method].Args {
						args = append(args, foolscap.Arg{Schema: banana.Any()})
					}
					play.Methods[method] = &foolscap.Method{Args: args, Do: func(ctx context.Context, c *foolscap.Call) (any, error) {
						var values []any
						for i := range args {
							values = append(values, copied(c.Value(i)))
						}
						made = append(made, message{kind: "call", method: method, args: shown(values)})
						_, answer := find(t, node, hub, method)
						if method == "subscribe_v2" {
							got, err := c.Ref(0).Call(ctx, "announce_v2", banana.Any(), said.args...)
							if err != nil || !cmp.Equal(got, saidAnswer.value) {
								t.Errorf("announce_v2 answers %v, %v", got, err)
							}
						}
						return answer.value, nil
					}}
				}
				tub := r.tub("hub", 0)
				at := tub.Register(r.name, play)
				nick := map[string]string{"server-introducer": "g1", "client-introducer": "gc"}[name]
				c, heard := r.client("alice", 1, at, func(c *ClientConfig) { c.Nickname = nick })
				if name == "server-introducer" {
					if err := c.Publish(server("g1")); err != nil {
						t.Fatal(err)
					}
				}
				r.listen("hub", tub)
				time.Sleep(time.Minute)
				if got := heard.take(); got != "g1 " || c.Status().DroppedTotal != 0 || c.Status().Problem != nil {
					t.Errorf("heard %q, %+v", got, c.Status())
				}
				var want []message
				for _, m := range node {
					if m.kind == "call" {
						want = append(want, message{kind: "call", method: m.method, args: append([]any{}, m.args...)})
					}
				}
				for _, m := range want {
					switch m.method {
					case "subscribe_v2":
						m.args[2].(banana.Dict)[1].Value = "tahoe-go/0.1.0"
					case "publish_v2": // ours is another server
						m.args[0] = toWire(*c.signed)
					}
				}
				if diff := cmp.Diff(want, made, cmp.AllowUnexported(message{})); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}
