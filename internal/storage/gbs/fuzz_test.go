package gbs

import (
	"bytes"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"tahoe-go/internal/storage"
)

// seedMessages are CBOR bodies, good and bad.
var seedMessages = []string{
	allocate0of10, corrupt0,
	"\xd9\x01\x02\x80", "\xd9\x01\x02\x82\x00\x02", "\xd9\x01\x02\x81\xf6", "\x80", "",
	"\xa1\x68required\x81\xa2\x65begin\x00\x63end\x02",
	"\xa2\x6calready-have\xd9\x01\x02\x80\x69allocated\xd9\x01\x02\x81\x00",
	"\xbf\xff", "\x9f\xff", "\xa1\x66reason\x7f\x61x\xff", // indefinite lengths
	"\xa2\x66reason\x61x\x66reason\x61y",      // a key twice
	"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",    // 2^63-1 elements announced
	"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",    // 2^64-1 bytes announced
	"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",    // as many pairs
	strings.Repeat("\x81", 4000) + "\x00",     // deep arrays
	strings.Repeat("\xd9\x01\x02", 100) + "0", // deep tags
	"\xd9\x01\x02\x81\xc2\x41\x05",            // a bignum for a number
	"\xa1\x66reason\xf9\x7e\x00",              // NaN for a text
	string(encode(&versionAnswer{storage.Version{MaxImmutableShareSize: 5, MaxMutableShareSize: 6, AvailableSpace: 7, Application: "x"}})),
}

// FuzzMessages feeds every message's decoder. What is accepted encodes to
// something that is accepted and means the same.
func FuzzMessages(f *testing.F) {
	for _, s := range seedMessages {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []struct{ in, out message }{
			{new(allocateRequest), new(allocateRequest)},
			{new(allocateAnswer), new(allocateAnswer)},
			{new(writeAnswer), new(writeAnswer)},
			{new(corruptRequest), new(corruptRequest)},
			{new(versionAnswer), new(versionAnswer)},
		} {
			if decode(b, m.in) != nil {
				continue
			}
			once := encode(m.in)
			if err := decode(once, m.out); err != nil {
				t.Errorf("%T: %x was accepted, its encoding %x is not: %v", m.in, b, once, err)
			} else if twice := encode(m.out); !bytes.Equal(once, twice) {
				t.Errorf("%T: %x encodes to %x, then %x", m.in, b, once, twice)
			}
		}
		var s sharesAnswer
		if decode(b, &s) == nil && len(s.nums) > 256 {
			t.Errorf("%d share numbers", len(s.nums))
		}
	})
}

// FuzzRanges checks both range headers: what parses is closed, not negative
// and reads back.
func FuzzRanges(f *testing.F) {
	for _, s := range []string{
		"bytes=0-5", "bytes=5-", "bytes=-5", "bytes=0-1,2-3", "bytes=9223372036854775806-9223372036854775807",
		"bytes 0-5/*", "bytes 0-5/6", "bytes 0-5/3", "bytes */5", "bytes  7 - 8 / 10", "lines 0-5/*", "bytes=00-05", "bytes=99999999999999999999-1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if s, ok := parseRange(v); ok {
			checkSpan(t, s)
			if again, ok := parseRange(formatRange(s)); !ok || again != s {
				t.Errorf("%q reads as %v, and that as %v", v, s, again)
			}
		}
		if s, total, ok := parseContentRange(v); ok {
			checkSpan(t, s)
			if total != -1 && s.Off >= total {
				t.Errorf("%q: %v of %d", v, s, total)
			}
			if again, _, ok := parseContentRange(formatContentRange(s)); !ok || again != s {
				t.Errorf("%q reads as %v, and that as %v", v, s, again)
			}
		}
	})
}

func checkSpan(t *testing.T, s storage.Span) {
	if s.Off < 0 || s.Len <= 0 || s.End() <= s.Off {
		t.Errorf("impossible span %+v", s)
	}
}

// FuzzSecrets checks the secrets header: what parses reads back.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{renewLine, cancelLine, uploadLine, enablerLine, "upload-secret ", "upload-secret YQ==", "upload-secret YR==", "upload-secret Y\nQ==", "x y", ""} {
		f.Add(s, renewLine)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, need := range [][]kind{{uploadSecret}, {renewSecret, cancelSecret}, {writeEnabler, renewSecret}} {
			lines := []string{a, b}[:len(need)]
			got, err := parseSecrets(http.Header{secretsHeader: lines}, need...)
			if err != nil {
				continue
			}
			h := http.Header{}
			for k, s := range got {
				addSecret(h, k, s)
			}
			if again, err := parseSecrets(h, need...); err != nil || len(again) != len(need) {
				t.Errorf("%q parse, but not after writing: %v", lines, err)
			}
		}
	})
}

// FuzzPath checks resource paths: one spelling each.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"/storage/v1/version", "/storage/v1/lease/" + siText, indexPath, indexPath + "/shares", sharePath, indexPath + "/255",
		sharePath + "/abort", sharePath + "/corrupt", sharePath + "/", "/storage/v1/", "/storage/v1//", indexPath + "/01", slotPath + "/read-test-write", slotPath + "/shares", slotPath + "/7", slotPath + "/7/corrupt", slotPath, "/storage/v1/immutable/\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := parsePath(s); ok && p.String() != s {
			t.Errorf("%q parses as %q", s, p)
		}
	})
}

// FuzzHeaders checks that content negotiation and error texts stand anything.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{cborType, "*/*;q=0", "text/html, application/cbor;q=0.1", "application/cbor; charset=\"", ",,,", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		h := http.Header{"Accept": {v}, "Content-Type": {v}}
		checkAccept(h)
		checkContentType(h)
		for _, word := range strings.Fields(excerpt([]byte(v))) {
			if len(word) >= 16 {
				t.Errorf("excerpt let %q through", word)
			}
		}
	})
}

// TestHugeMessages checks that a short message which announces much is refused
// without making room for it.
func TestHugeMessages(t *testing.T) {
	for _, s := range seedMessages {
		b := []byte(s)
		for _, m := range []message{new(allocateRequest), new(allocateAnswer), new(writeAnswer), new(corruptRequest), new(versionAnswer), new(sharesAnswer)} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			decode(b, m)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
				t.Errorf("%T: %d bytes allocated for %d of input", m, n, len(b))
			}
		}
	}
}
