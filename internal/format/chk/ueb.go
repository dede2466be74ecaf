package chk

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"tahoe-go/internal/codec/tagged"
)

// Hash is a tagged SHA-256d.
type Hash = tagged.Hash

// MaxUEB is the size in bytes from which a UEB is refused; real ones have 300
// to 600. The reference draws the same line.
const MaxUEB = 2000

// roots are the hashes a UEB carries.
type roots struct {
	crypttext     Hash // flat hash of the whole ciphertext
	crypttextRoot Hash
	shareRoot     Hash
}

// UEB is what a URI extension block says. Unknown fields are ignored, as early
// writers had more; those that repeat what the cap and the segment size
// settle may be absent, and are compared with it otherwise.
type UEB struct {
	SegmentSize   int64
	CrypttextRoot Hash
	ShareRoot     Hash

	Crypttext     *Hash // flat ciphertext hash; nil when absent
	PlaintextRoot *Hash // only early writers; nil when absent

	has            map[string]bool
	codec          string
	params, tail   [3]int64 // segment size, k, n
	size, segments int64
	needed, total  int64
}

var errUEB = errors.New("malformed UEB")

// packUEB is the UEB of a file: sorted "key:netstring" pairs.
func (l *Layout) packUEB(r roots) []byte {
	var b []byte
	put := func(key, value string) {
		b = fmt.Appendf(b, "%s:%d:%s,", key, len(value), value)
	}
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	params := func(size int64) string { return fmt.Sprintf("%d-%d-%d", size, l.K, l.N) }
	put("codec_name", "crs")
	put("codec_params", params(l.SegmentSize))
	put("crypttext_hash", string(r.crypttext[:]))
	put("crypttext_root_hash", string(r.crypttextRoot[:]))
	put("needed_shares", num(int64(l.K)))
	put("num_segments", num(l.Segments))
	put("segment_size", num(l.SegmentSize))
	put("share_root_hash", string(r.shareRoot[:]))
	put("size", num(l.Size))
	put("tail_codec_params", params(l.TailBlock*int64(l.K)))
	put("total_shares", num(int64(l.N)))
	return b
}

// ParseUEB reads a UEB strictly: keys ascending and once each, canonical
// numbers, nothing left over. It does not know the cap; File compares the two.
func ParseUEB(b []byte) (*UEB, error) {
	if len(b) >= MaxUEB {
		return nil, fmt.Errorf("%d bytes: %w", len(b), errUEB)
	}
	u := &UEB{has: make(map[string]bool)}
	last := ""
	for len(b) > 0 {
		key, value, rest, err := cutField(b)
		if err != nil {
			return nil, err
		}
		if key <= last {
			return nil, fmt.Errorf("key %q after %q: %w", key, last, errUEB)
		}
		if err := u.set(key, value); err != nil {
			return nil, err
		}
		u.has[key] = true
		last, b = key, rest
	}
	for _, key := range []string{"segment_size", "crypttext_root_hash", "share_root_hash"} {
		if !u.has[key] {
			return nil, fmt.Errorf("no %s: %w", key, errUEB)
		}
	}
	return u, nil
}

// cutField takes "key:length:value," off b.
func cutField(b []byte) (key string, value, rest []byte, err error) {
	k, b, ok := bytes.Cut(b, []byte(":"))
	if !ok || len(k) == 0 {
		return "", nil, nil, fmt.Errorf("no key: %w", errUEB)
	}
	for _, c := range k {
		if c != '_' && c != '-' && (c|0x20 < 'a' || c|0x20 > 'z') {
			return "", nil, nil, fmt.Errorf("key %q: %w", k, errUEB)
		}
	}
	digits, b, ok := bytes.Cut(b, []byte(":"))
	if !ok {
		return "", nil, nil, fmt.Errorf("%s has no length: %w", k, errUEB)
	}
	n, err := parseNumber(digits)
	if err != nil || n >= int64(len(b)) || b[n] != ',' {
		return "", nil, nil, fmt.Errorf("length of %s: %w", k, errUEB)
	}
	return string(k), b[:n], b[n+1:], nil
}

func (u *UEB) set(key string, value []byte) (err error) {
	switch key {
	case "codec_name":
		u.codec = string(value)
	case "codec_params":
		u.params, err = parseParams(value)
	case "tail_codec_params":
		u.tail, err = parseParams(value)
	case "segment_size":
		u.SegmentSize, err = parseNumber(value)
	case "size":
		u.size, err = parseNumber(value)
	case "num_segments":
		u.segments, err = parseNumber(value)
	case "needed_shares":
		u.needed, err = parseNumber(value)
	case "total_shares":
		u.total, err = parseNumber(value)
	case "crypttext_root_hash":
		err = parseHash(&u.CrypttextRoot, value)
	case "share_root_hash":
		err = parseHash(&u.ShareRoot, value)
	case "crypttext_hash":
		u.Crypttext = new(Hash)
		err = parseHash(u.Crypttext, value)
	case "plaintext_root_hash":
		u.PlaintextRoot = new(Hash)
		err = parseHash(u.PlaintextRoot, value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// layout lays out the file that the UEB and the cap describe together. What
// the UEB repeats of the cap must agree with it.
func (u *UEB) layout(k, n int, size int64) (Layout, error) {
	l, err := layoutOf(k, n, u.SegmentSize, size)
	if err != nil {
		return l, err
	}
	params := [3]int64{l.SegmentSize, int64(k), int64(n)}
	tail := [3]int64{l.TailBlock * int64(k), int64(k), int64(n)}
	for _, c := range []struct {
		key  string
		same bool
	}{
		{"codec_name", u.codec == "crs"},
		{"codec_params", u.params == params},
		{"tail_codec_params", u.tail == tail},
		{"size", u.size == size},
		{"num_segments", u.segments == l.Segments},
		{"needed_shares", u.needed == int64(k)},
		{"total_shares", u.total == int64(n)},
	} {
		if u.has[c.key] && !c.same {
			return l, fmt.Errorf("%s contradicts the cap: %w", c.key, errUEB)
		}
	}
	return l, nil
}

// parseNumber reads a canonical decimal below 2^62.
func parseNumber(b []byte) (int64, error) {
	n, err := strconv.ParseUint(string(b), 10, 62)
	if err != nil || b[0] == '0' && len(b) > 1 {
		return 0, fmt.Errorf("number %q: %w", b, errUEB)
	}
	return int64(n), nil
}

// parseParams reads "segmentsize-k-n".
func parseParams(b []byte) (p [3]int64, err error) {
	parts := bytes.Split(b, []byte("-"))
	if len(parts) != len(p) {
		return p, errUEB
	}
	for i := range p {
		if p[i], err = parseNumber(parts[i]); err != nil {
			return p, err
		}
	}
	return p, nil
}

func parseHash(h *Hash, b []byte) error {
	if len(b) != len(h) {
		return fmt.Errorf("%d bytes: %w", len(b), errUEB)
	}
	copy(h[:], b)
	return nil
}
