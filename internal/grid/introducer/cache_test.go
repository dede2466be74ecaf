package introducer

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// TestCache: what was heard is used at once by the next run, with nobody to
// ask, and still counts against replays.
func TestCache(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		private := tempRoot(t)
		withCache := func(c *ClientConfig) { c.Private, c.Cache = private, CacheFile("hub") }
		tub, say, obj := r.badHub()
		at := tub.Register(r.name, obj)
		first, _ := r.client("alice", 1, at, withCache)
		if err := say(toWire(sign(t, 7, "seven", 5)), toWire(sign(t, 8, "eight", 1))); err != nil {
			t.Fatal(err)
		}
		first.Close()
		closeTub(first.conf.Tub)
		info, err := private.Stat("introducer_hub_cache.yaml")
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("the cache file: %v, %v", info, err)
		}

		r.net.Partition("bob", "hub")
		second, heard := r.client("bob", 2, at, withCache)
		if got := heard.take(); got != "seven eight " && got != "eight seven " {
			t.Errorf("from the cache, at once: %q", got)
		}
		if st := second.Status(); len(st.Known) != 2 || !st.Known[0].Cached || !strings.Contains(st.Known[0].Why, "cache") {
			t.Errorf("status %+v", st)
		}
		r.net.Heal("bob", "hub")
		time.Sleep(10 * time.Minute)
		if st := second.Status(); !st.Subscribed || len(st.Known) != 2 {
			t.Errorf("with the introducer back: %+v", st)
		}
	})
}

// TestCacheThenIntroducer: what is both in the cache and announced is told
// once, and an older announcement does not count though it is the first that
// this run hears.
func TestCacheThenIntroducer(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		private := tempRoot(t)
		old, err := sign(t, 7, "five", 5).Verify()
		if err != nil {
			t.Fatal(err)
		}
		if err := private.WriteFile("c.yaml", entryYAML(old), 0o600); err != nil { // as the reference writes it: no time
			t.Fatal(err)
		}
		tub, say, obj := r.badHub()
		c, heard := r.client("alice", 1, tub.Register(r.name, obj), func(c *ClientConfig) { c.Private, c.Cache = private, "c.yaml" })
		if got := heard.take(); got != "five " {
			t.Fatalf("from the cache %q", got)
		}
		if err := say(toWire(sign(t, 7, "four", 4))); err != nil || heard.take() != "" || c.Status().DroppedTotal != 1 {
			t.Errorf("a replay: %v, %+v", err, c.Status())
		}
		if err := say(toWire(sign(t, 7, "five", 5))); err != nil || heard.take() != "" || c.Status().Known[0].Cached {
			t.Errorf("the same: %v, %+v", err, c.Status())
		}
		if err := say(toWire(sign(t, 7, "six", 6))); err != nil || heard.take() != "six " {
			t.Errorf("a newer one: %v, %+v", err, c.Status())
		}
	})
}

// TestCacheWrites: an introducer that always has something new does not have the
// disk written without end, and nothing of it is lost.
func TestCacheWrites(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		private := tempRoot(t)
		tub, say, obj := r.badHub()
		c, _ := r.client("alice", 1, tub.Register(r.name, obj), func(c *ClientConfig) { c.Private, c.Cache = private, "c.yaml" })
		writes, begin := 0, time.Now()
		var last os.FileInfo
		const news = 300
		for seqnum := range int64(news) {
			if err := say(toWire(sign(t, 7, fmt.Sprintf("name %d", seqnum), seqnum+1))); err != nil {
				t.Fatal(err)
			}
			if now, err := private.Stat("c.yaml"); err != nil || last == nil || !os.SameFile(last, now) {
				last = now
				writes++
			}
			if seqnum == 0 && last == nil {
				t.Error("the first is not written at once")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if most := int(time.Since(begin)/saveEvery) + 1; writes > most {
			t.Errorf("%d pieces of news in %v were written %d times, want %d", news, time.Since(begin), writes, most)
		}
		read := func() string {
			t.Helper()
			text, err := private.ReadFile("c.yaml")
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		time.Sleep(saveEvery)
		if want := fmt.Sprintf("name %d\n", news-1); !strings.Contains(read(), want) {
			t.Errorf("a while later the cache has %q, want %q", read(), want)
		}
		for _, name := range []string{"one more", "and another"} { // the first is written at once
			if err := say(toWire(sign(t, 7, name, int64(news+2+len(name))))); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		if !strings.Contains(read(), "and another") {
			t.Errorf("once closed the cache has %q", read())
		}
	})
}

// TestCacheAge: the cache forgets what its introducer has long not said.
func TestCacheAge(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		private := tempRoot(t)
		old, err := sign(t, 7, "old", 5).Verify()
		if err != nil {
			t.Fatal(err)
		}
		young, err := sign(t, 8, "young", 5).Verify()
		if err != nil {
			t.Fatal(err)
		}
		day := 24 * time.Hour
		text := withTime(nil, entryYAML(old), time.Now().Add(-61*day))
		text = withTime(text, entryYAML(young), time.Now().Add(-59*day))
		text = append(text, "- ann: {service-name: storage}\n  key_s: v0-x\n- 7\n"...)
		if err := private.WriteFile("c.yaml", text, 0o600); err != nil {
			t.Fatal(err)
		}
		hub, _ := r.hub(Limits{})
		c, heard := r.client("alice", 1, hub.FURL(), func(c *ClientConfig) { c.Private, c.Cache = private, "c.yaml" })
		if got := heard.take(); got != "young " || c.Status().DroppedTotal != 3 {
			t.Errorf("heard %q, dropped %+v", got, c.Status().Dropped)
		}
		c.Close()
		left, err := private.ReadFile("c.yaml")
		if err != nil || strings.Contains(string(left), "old\n") || !strings.Contains(string(left), "young") {
			t.Errorf("the cache has %q, %v", left, err)
		}
	})
}

// TestCacheCrash: the times in the cache are true though the client never
// closes.
func TestCacheCrash(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		r.limits = long
		private := tempRoot(t)
		hub, _ := r.hub(Limits{})
		c, _ := r.client("alice", 1, hub.FURL(), func(c *ClientConfig) { c.Private, c.Cache = private, "c.yaml" })
		c.Publish(server("alice"))
		time.Sleep(100 * 24 * time.Hour)
		text, err := private.ReadFile("c.yaml")
		if err != nil {
			t.Fatal(err)
		}
		hs, _, err := parseCache(text, time.Now())
		if err != nil || len(hs) != 1 || time.Since(hs[0].at) > 25*time.Hour {
			t.Errorf("after 100 days: %+v, %v", hs, err)
		}
	})
}

// TestBadCache: a cache that is no list is reported, and does not stop a node.
func TestBadCache(t *testing.T) {
	for _, text := range []string{"{", "a: b", strings.Repeat("x", maxCache+1), "- &a [*a]"} {
		bubble(t, func(r *rig) {
			private := tempRoot(r.t)
			if err := private.WriteFile("c.yaml", []byte(text), 0o600); err != nil {
				r.t.Fatal(err)
			}
			hub, _ := r.hub(Limits{})
			c, heard := r.client("alice", 1, hub.FURL(), func(c *ClientConfig) { c.Private, c.Cache = private, "c.yaml" })
			if st := c.Status(); st.CacheErr == nil && st.DroppedTotal == 0 || heard.take() != "" {
				r.t.Errorf("%.20q: %+v", text, st)
			}
		})
	}
}

// TestBadMemory: an introducer starts with a memory that is damaged, keeps
// what is proven of it, and refuses one that it must not overwrite.
func TestBadMemory(t *testing.T) {
	good := sign(t, 1, "good", 3)
	entry := func(msg, sig, key string) string {
		return fmt.Sprintf(`{"msg":%q,"sig":%q,"key":%q}`, msg, sig, key)
	}
	line := entry(good.Msg.Reveal(), good.Sig, good.Key)
	bad := entry(good.Msg.Reveal()+" ", good.Sig, good.Key)
	for _, tt := range []struct {
		name, text string
		kept       int
		aside      bool
		fails      bool
	}{
		{"empty", "", 0, true, false},
		{"cut off", `{"version":1,"announcements":[` + line, 0, true, false},
		{"no version", `{}`, 0, true, false},
		{"later", `{"version":2}`, 0, false, true},
		{"one forged", `{"version":1,"announcements":[` + bad + "," + line + "," + line + `]}`, 1, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := tempRoot(t)
			if err := root.WriteFile(MemoryFile, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			tub, err := foolscap.New(foolscap.Config{Cert: certs()[0]})
			if err != nil {
				t.Fatal(err)
			}
			defer closeTub(tub)
			s, err := NewServer(ServerConfig{Tub: tub, Swissnum: foolscap.NewSwissnum(), Root: root})
			if (err != nil) != tt.fails {
				t.Fatalf("NewServer: %v", err)
			}
			if err != nil {
				return
			}
			defer s.Close()
			if n := len(s.Status().Announcements); n != tt.kept {
				t.Errorf("%d announcements, want %d", n, tt.kept)
			}
			if _, err := root.Stat(MemoryFile + ".unreadable"); (err == nil) != tt.aside {
				t.Errorf("put aside: %v", err)
			}
		})
	}
}

// TestDiskFull: subscribers hear what could not be written, and the publisher
// is told.
func TestDiskFull(t *testing.T) {
	bubble(t, func(r *rig) {
		t := r.t
		hub, _ := r.hub(Limits{})
		if err := os.Mkdir(r.root.Name()+"/"+MemoryFile, 0o700); err != nil { // no file can be put there
			t.Fatal(err)
		}
		_, heard := r.client("bob", 2, hub.FURL(), nil)
		time.Sleep(time.Second)
		alice := r.tub("alice", 1)
		if err := publishOnce(t, alice, hub.FURL(), sign(t, 1, "one", 1)); err == nil {
			t.Error("no error though nothing is on disk")
		}
		time.Sleep(time.Second)
		if got := heard.take(); got != "one " || hub.Status().SaveErr == nil {
			t.Errorf("bob heard %q, status %+v", got, hub.Status())
		}
		if err := os.Remove(r.root.Name() + "/" + MemoryFile); err != nil {
			t.Fatal(err)
		}
		if err := publishOnce(t, alice, hub.FURL(), sign(t, 1, "one", 1)); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if text, err := r.root.ReadFile(MemoryFile); err != nil || !strings.Contains(string(text), key(1).Key().String()) || hub.Status().SaveErr != nil {
			t.Errorf("the memory: %q, %v", text, err)
		}
	})
}

func FuzzCache(f *testing.F) {
	ann, err := sign(f, 7, "seven", 5).Verify()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	f.Add(string(withTime(nil, entryYAML(ann), now)))
	f.Add("- ann: {service-name: storage}\n  key_s: " + ann.Key.String() + "\n  heard: 2001-01-01\n")
	f.Add("- &a {ann: *a, key_s: 1}\n- !!binary x\n- <<: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		hs, _, err := parseCache([]byte(text), now)
		if err != nil {
			return
		}
		for _, h := range hs {
			if h.at.After(now) {
				t.Errorf("heard in the future: %v", h.at)
			}
			entryYAML(h.ann)
			h.ann.Server()
		}
	})
}

func FuzzMemory(f *testing.F) {
	s := sign(f, 1, "good", 3)
	f.Add(fmt.Sprintf(`{"version":1,"announcements":[{"msg":%q,"sig":%q,"key":%q,"absent-seconds":-5,"first":"2001-01-01T00:00:00Z"}]}`, s.Msg.Reveal(), s.Sig, s.Key))
	f.Add(`{"version":1,"announcements":[null,{}]}`)
	server := &Server{conf: ServerConfig{Log: slog.New(slog.DiscardHandler)}}
	server.conf.Limits.setDefaults()
	f.Fuzz(func(t *testing.T, text string) {
		es, _ := server.parseMemory([]byte(text))
		for _, e := range es {
			if _, err := e.signed.Verify(); err != nil || e.ann.Service == "" || e.absent < 0 || e.absent > KeepFor {
				t.Errorf("kept %v: %v", e.ann.Key, err)
			}
		}
	})
}

// FuzzTriple: nothing that a peer can send as an announcement is a panic or a
// panic later.
func FuzzTriple(f *testing.F) {
	s := sign(f, 1, "good", 3)
	f.Add([]byte(s.Msg.Reveal()), []byte(s.Sig), []byte(s.Key))
	f.Fuzz(func(t *testing.T, msg, sig, key []byte) {
		signed, err := fromWire(banana.Tuple{msg, sig, key})
		if err != nil {
			return
		}
		ann, err := signed.Verify()
		if err != nil {
			refusal(err)
			return
		}
		entryYAML(ann)
		if ann.Service == announce.Storage {
			ann.Server()
		}
	})
}
