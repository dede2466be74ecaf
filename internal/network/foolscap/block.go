package foolscap

import (
	"bufio"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxBlock bounds each part of a negotiation, in bytes.
const maxBlock = 4096

// block is a part of the negotiation: lower-case keys and their values.
type block map[string]string

// encode returns the lines, sorted, and the empty one.
func (b block) encode() []byte {
	var out []byte
	for _, k := range slices.Sorted(maps.Keys(b)) {
		out = append(out, k+": "+b[k]+"\r\n"...)
	}
	return append(out, "\r\n"...)
}

// readHeader reads up to and with the first empty line and returns the lines
// before it.
func readHeader(r *bufio.Reader) ([]string, error) {
	var lines []string
	for size := 0; ; {
		line, err := r.ReadSlice('\n')
		size += len(line)
		if size > maxBlock || err == bufio.ErrBufferFull {
			return nil, refuse("a block of more than %d bytes", maxBlock)
		}
		if err != nil {
			return nil, err
		}
		text, ok := strings.CutSuffix(string(line), "\r\n")
		if !ok {
			return nil, refuse("a line that does not end in CR LF")
		}
		if text == "" {
			return lines, nil
		}
		lines = append(lines, text)
	}
}

func readBlock(r *bufio.Reader) (block, error) {
	lines, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	b := make(block, len(lines))
	for _, l := range lines {
		k, v, ok := strings.Cut(l, ":")
		k = strings.ToLower(k)
		if _, twice := b[k]; !ok || k == "" || twice {
			return nil, refuse("a block with a line that is not a new key and its value")
		}
		b[k] = strings.TrimLeft(v, " \t")
	}
	return b, nil
}

// pair splits a value into two numbers.
func (b block) pair(key string) (low, high int, err error) {
	l, h, ok := strings.Cut(b[key], " ")
	low, err1 := strconv.Atoi(l)
	high, err2 := strconv.Atoi(h)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, refuse("no two numbers in %s", key)
	}
	return low, high, nil
}

// record is what both sides call one connection: the master's incarnation and
// how many connections with this peer the master has made in it.
type record struct {
	incarnation string
	seq         int
}

func (r record) String() string { return r.incarnation + " " + strconv.Itoa(r.seq) }

var noRecord = record{incarnation: "none"}

// maxIncarnation bounds what is remembered of a peer's word. Foolscap's have 16.
const maxIncarnation = 64

func parseRecord(s string) (record, bool) {
	ir, n, ok := strings.Cut(s, " ")
	seq, err := strconv.Atoi(n)
	return record{ir, seq}, ok && err == nil && ir != "" && len(ir) <= maxIncarnation
}
