package grid

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
)

func signingKey(t *testing.T, n byte) announce.SigningKey {
	t.Helper()
	k, err := announce.SigningKeyOf(redact.New(string(bytes.Repeat([]byte{n}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Only servers that a grid manager vouches for now are given new shares. All
// are read from, and an announcement with a later certificate counts at once and
// needs no new connection.
func TestGridManagers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, stranger := signingKey(t, 100), signingKey(t, 101)
		now := time.Now()
		certify := func(by, server announce.SigningKey, d time.Duration) announce.Certificate {
			c, err := announce.Certify(by, announce.Grant{Server: server.Key(), Expires: now.Add(d)})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		fakes, servers := map[string]*fake{"by-hand": newFake()}, map[string]Known{}
		for _, name := range []string{"good", "short", "over", "stranger's", "another's", "none"} {
			fakes[name] = newFake()
		}
		g := New(Config{Open: open(fakes), Managers: []announce.Key{signingKey(t, 102).Key(), manager.Key()}})
		defer g.Close()
		for i, tt := range []struct {
			name  string
			certs func(self announce.SigningKey) []announce.Certificate
		}{
			{"good", func(s announce.SigningKey) []announce.Certificate {
				return []announce.Certificate{certify(stranger, s, time.Hour), certify(manager, s, -time.Hour), certify(manager, s, 1000*time.Hour)}
			}},
			{"short", func(s announce.SigningKey) []announce.Certificate {
				return []announce.Certificate{certify(manager, s, 10*time.Hour)}
			}},
			{"over", func(s announce.SigningKey) []announce.Certificate {
				return []announce.Certificate{certify(manager, s, -time.Second)}
			}},
			{"stranger's", func(s announce.SigningKey) []announce.Certificate {
				return []announce.Certificate{certify(stranger, s, time.Hour)}
			}},
			{"another's", func(announce.SigningKey) []announce.Certificate {
				return []announce.Certificate{certify(manager, signingKey(t, 1), time.Hour)}
			}},
			{"none", func(announce.SigningKey) []announce.Certificate { return nil }},
		} {
			self := signingKey(t, byte(i+1))
			k := known(self.Key().String(), tt.name)
			k.Name, k.Certs = tt.name, tt.certs(self)
			servers[tt.name] = k
			g.Add(k)
		}
		byHand := known("by-hand", "by-hand")
		byHand.Name, byHand.Static, byHand.Certs = "by hand", true, servers["good"].Certs
		g.Add(byHand)
		if n := g.Wait(t.Context(), 7); n != 7 {
			t.Fatalf("%d connected", n)
		}
		check := func(when string, want ...string) {
			t.Helper()
			var got []string
			for _, p := range g.ForUpload(storage.Index{}) {
				got = append(got, p.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: new shares go to %q, want %q", when, got, want)
			}
			read := g.ForRead(storage.Index{})
			for _, p := range read {
				if p.NoNewShares == slices.Contains(want, p.Name) {
					t.Errorf("%s: %s: NoNewShares is %t", when, p.Name, p.NoNewShares)
				}
			}
			if n := g.WaitToStore(t.Context(), 7); len(read) != 7 || n != len(want) {
				t.Errorf("%s: %d to read from, %d to store at", when, len(read), n)
			}
		}
		check("at first", "good", "short")
		for _, st := range g.Status() {
			for name, why := range map[string]string{"good": "", "over": "expired", "none": "no certificate of", "stranger's": "that one of this node's", "another's": "that one of this node's", "by hand": "that one of this node's"} {
				if st.Name == name && (!strings.Contains(st.Barred, why) || (st.Barred == "") != (why == "")) {
					t.Errorf("%s: %q, want %q", name, st.Barred, why)
				}
			}
		}
		time.Sleep(10*time.Hour - time.Since(now) - time.Nanosecond)
		check("just before the end", "good", "short")
		time.Sleep(time.Nanosecond)
		check("at the end", "good")
		k := servers["over"]
		asked := fakes["over"].asked.Load()
		k.Seqnum, k.Certs = 2, []announce.Certificate{certify(manager, signingKey(t, 3), 1000*time.Hour)}
		g.Add(k)
		check("with a new certificate", "good", "over")
		if n := fakes["over"].asked.Load(); n != asked {
			t.Errorf("it took %d new connections", n-asked)
		}
	})
}
