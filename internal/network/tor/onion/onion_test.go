package onion_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tahoe-go/internal/network/tor/onion"
)

// Known pair made by tor 0.4.9.11: ADD_ONION NEW:ED25519-V3.
const (
	torKey     = "ED25519-V3:6IaC9pw7injOFvjUAhQHlU4fUU0HPVSMKzXWRawGummMkRzOO0LuuExKY3b1oRHb3QsXDrhmpBNbKLb/oab8ww=="
	torAddress = "erp5vltnivub2id7bqsjo7w435g3mc2537j3pvyrtzzswpnqjjtnddqd.onion"
)

// A public address that others made.
const debian = "2s4yqjx5ul6okpp3f2gaunr2syex5jgbfpfvhxxbbjwnrsvbk5v3qbid.onion"

func TestKeyMadeByTor(t *testing.T) {
	for _, file := range []string{torKey, torKey + "\n", strings.TrimRight(torKey, "="), torKey + "\r\n"} {
		k, err := onion.ParseKey([]byte(file))
		if err != nil {
			t.Fatalf("ParseKey: %v", err)
		}
		if got := k.Address().String(); got != torAddress {
			t.Errorf("address = %s, want %s", got, torAddress)
		}
		if k.Reveal() != torKey {
			t.Errorf("the key changed on the way")
		}
	}
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(torKey, "ED25519-V3:"))
	k, err := onion.ParseKey(append([]byte("== ed25519v1-secret: type0 ==\x00\x00\x00"), raw...))
	if err != nil || k.Address().String() != torAddress {
		t.Errorf("hs_ed25519_secret_key: address %s, error %v", k.Address(), err)
	}
}

// TestExpandedGivesSamePublicKey compares the two ways to a public key: the
// standard library's from the seed, ours from the expanded key. Both signs of x
// occur among 64 keys.
func TestExpandedGivesSamePublicKey(t *testing.T) {
	signs := 0
	for i := range 64 {
		seed := [32]byte{byte(i), 1}
		pub := ed25519.NewKeyFromSeed(seed[:])[32:]
		signs += int(pub[31] >> 7)
		k := onion.FromSeed(seed)
		if want := onion.FromPublic([32]byte(pub)); k.Address() != want {
			t.Fatalf("seed %d: address %s, want %s", i, k.Address(), want)
		}
		again, err := onion.ParseKey([]byte(k.Reveal()))
		if err != nil || again != k {
			t.Fatalf("seed %d: parsed key has address %s (error %v), want %s", i, again.Address(), err, k.Address())
		}
	}
	if signs == 0 || signs == 64 {
		t.Errorf("%d of 64 keys have a negative x: the test shows nothing", signs)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	seedAndPublic := base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)))
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"empty", "", onion.ErrKeySyntax},
		{"version 2", "RSA1024:MIICXQIBAAKBgQ==", onion.ErrRetiredKey},
		{"no base64", "ED25519-V3:!!!!", onion.ErrKeySyntax},
		{"short", "ED25519-V3:AAAA", onion.ErrKeySyntax},
		{"go private key", "ED25519-V3:" + seedAndPublic, onion.ErrKeySyntax},
		{"zeros", "ED25519-V3:" + base64.StdEncoding.EncodeToString(make([]byte, 64)), onion.ErrKeySyntax},
		{"other type", "ED448-V4:AAAA", onion.ErrKeySyntax},
		{"cut tor file", "== ed25519v1-secret: type0 ==\x00\x00\x00abc", onion.ErrKeySyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := onion.ParseKey([]byte(tt.in))
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if _, body, _ := strings.Cut(tt.in, ":"); len(body) > 3 && strings.Contains(err.Error(), body) {
				t.Errorf("error holds the key: %v", err)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	upper := strings.ToUpper(debian)
	for _, tt := range []struct {
		name, in, want, why string
	}{
		{"canonical", debian, debian, ""},
		{"upper case", upper, debian, ""},
		{"trailing dot", debian + ".", debian, ""},
		{"below", "www." + debian, debian, ""},
		{"version 2", "expyuzz4wqqyqhjn.onion", "", "version 2"},
		{"typing error", "3" + debian[1:], "", "checksum"},
		{"wrong version", debian[:55] + "a.onion", "", "mistyped"},
		{"short", debian[1:], "", "55 letters"},
		{"bad letter", "1" + debian[1:], "", "characters"},
		{"other name", "example.org", "", "does not end in .onion"},
		{"empty", ".onion", "", "0 letters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := onion.ParseAddress(tt.in)
			if got.String() != tt.want || (err == nil) != (tt.why == "") {
				t.Fatalf("ParseAddress(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.why) {
				t.Errorf("error %q does not say %q", err, tt.why)
			}
		})
	}
}

func TestIsOnion(t *testing.T) {
	for in, want := range map[string]bool{
		debian: true, "X.ONION": true, "x.onion.": true, "a.b.Onion": true,
		"onion": false, "x.onion.example": false, "xonion": false, "": false,
	} {
		if got := onion.IsOnion(in); got != want {
			t.Errorf("IsOnion(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tor_onion.privkey")
	made, err := onion.LoadOrCreateKeyFile(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	read, err := onion.LoadOrCreateKeyFile(path, nil) // must not need randomness
	if err != nil || read != made {
		t.Errorf("read another key than was written: %v", err)
	}
	if err := onion.WriteKeyFile(path, made); !errors.Is(err, os.ErrExist) {
		t.Errorf("replacing a key: error = %v, want %v", err, os.ErrExist)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode().Perm(); os.PathSeparator == '/' && got != 0o600 {
		t.Errorf("permissions = %o, want 600", got)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("A"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := onion.ReadKeyFile(path); !errors.Is(err, onion.ErrKeySyntax) {
		t.Errorf("a long file: error = %v, want %v", err, onion.ErrKeySyntax)
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	k := onion.FromSeed([32]byte{42})
	secret := strings.TrimPrefix(k.Reveal(), "ED25519-V3:")
	wrapped := struct{ k onion.Key }{k}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, k, &k, wrapped)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", k, "w", wrapped)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", k, "w", wrapped)
	for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), secret[:16]} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the key was printed")
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(torKey))
	f.Add([]byte("RSA1024:x"))
	f.Add([]byte("== ed25519v1-secret: type0 ==\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := onion.ParseKey(in)
		if err != nil {
			return
		}
		if again, err := onion.ParseKey([]byte(k.Reveal())); err != nil || again != k {
			t.Errorf("key does not survive its own text: %v", err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add(debian)
	f.Add("www." + debian + ".")
	f.Add("expyuzz4wqqyqhjn.onion")
	f.Fuzz(func(t *testing.T, in string) {
		a, err := onion.ParseAddress(in)
		if err != nil {
			return
		}
		if again, err := onion.ParseAddress(a.String()); err != nil || again != a || !onion.IsOnion(in) {
			t.Errorf("ParseAddress(%q) = %q, then %q, %v", in, a, again, err)
		}
	})
}
