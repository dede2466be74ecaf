package banana

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
)

// Token types. A token is a header (a base-128 number, least significant digit
// first, each byte below 0x80), a type byte and, for some, a body.
const (
	INT     = 0x81 // header is the value
	STRING  = 0x82 // header is the length of the body
	NEG     = 0x83 // minus the header
	FLOAT   = 0x84 // 8 bytes big endian
	LONGINT = 0x85 // header is the length of a big-endian body
	LONGNEG = 0x86
	VOCAB   = 0x87 // header is an index into the vocabulary
	OPEN    = 0x88 // header counts the sequences of this direction
	CLOSE   = 0x89 // the same number as its OPEN
	ABORT   = 0x8a
	ERROR   = 0x8d // header is the length of a text; the connection ends
	PING    = 0x8e
	PONG    = 0x8f
)

// Vocabulary table 1, the only one in use, and what the two sides compare of it.
const (
	VocabIndex = 1
	VocabHash  = "bb33" // start of the SHA-1 of the words joined by NUL
)

var vocabulary = [...]string{
	"none", "boolean", "reference",
	"dict", "list", "tuple", "set", "immutable-set",
	"unicode", "set-vocab", "add-vocab",
	"call", "arguments", "answer", "error",
	"my-reference", "your-reference", "their-reference", "copyable",
	"instance", "module", "class", "method", "function",
	"attrdict",
}

const longestWord = 15 // in the vocabulary

var wordIndex = func() map[string]uint64 {
	m := make(map[string]uint64, len(vocabulary))
	for i, w := range vocabulary {
		m[w] = uint64(i)
	}
	return m
}()

// MaxErrorText bounds the text of an ERROR token, in bytes.
const MaxErrorText = 1000

// ProtocolError is a peer that does not speak banana: the connection cannot go
// on. Its text holds nothing that the peer sent.
type ProtocolError struct{ Why string }

// Error says what was wrong.
func (e *ProtocolError) Error() string { return "banana: " + e.Why }

// Violation is a well-formed message with something in it that the schema or a
// limit refuses. What follows it can be read after Decoder.Skip.
type Violation struct{ Why string }

// Error says what was refused.
func (e *Violation) Error() string { return "refused: " + e.Why }

// PeerError is the text of an ERROR token: the peer is about to hang up.
type PeerError struct{ Text string }

// Error quotes the peer.
func (e *PeerError) Error() string { return fmt.Sprintf("the peer says: %.200q", e.Text) }

// errAborted is an ABORT token: the sender gave up in the middle of a message.
var errAborted = &Violation{Why: "the sender aborted this message"}

// IsAborted reports whether err means that the sender gave up in the middle of
// a message and so wants no answer to it.
func IsAborted(err error) bool {
	var v *Violation
	return errors.As(err, &v) && v == errAborted
}

func protocolErr(format string, args ...any) error {
	return &ProtocolError{Why: fmt.Sprintf(format, args...)}
}

func violation(format string, args ...any) error {
	return &Violation{Why: fmt.Sprintf(format, args...)}
}

// token is a header and a type; the body is still to be read.
type token struct {
	kind byte
	n    uint64
}

func (t token) String() string {
	names := map[byte]string{INT: "INT", STRING: "STRING", NEG: "NEG", FLOAT: "FLOAT", LONGINT: "LONGINT", LONGNEG: "LONGNEG",
		VOCAB: "VOCAB", OPEN: "OPEN", CLOSE: "CLOSE", ABORT: "ABORT", ERROR: "ERROR", PING: "PING", PONG: "PONG"}
	if s, ok := names[t.kind]; ok {
		return s
	}
	return fmt.Sprintf("token 0x%02x", t.kind)
}

// readToken reads a header of at most ten bytes (Foolscap takes 64, and sends
// no more than five) and the type byte.
func readToken(r *bufio.Reader) (token, error) {
	var n uint64
	for i := 0; ; i++ {
		b, err := r.ReadByte()
		if err != nil {
			if i > 0 {
				err = unexpected(err)
			}
			return token{}, err
		}
		if b >= 0x80 {
			return token{kind: b, n: n}, nil
		}
		if i >= 10 || i == 9 && b > 1 {
			return token{}, protocolErr("a token header is longer than 64 bits")
		}
		n |= uint64(b) << (7 * i)
	}
}

// unexpected is what the end of a connection is in the middle of something.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// hasBody reports whether n bytes follow a token of this kind.
func (t token) hasBody() bool {
	switch t.kind {
	case STRING, LONGINT, LONGNEG, ERROR:
		return true
	}
	return false
}

// bodyLen is the length of the body; an impossible one is math.MaxInt64.
func (t token) bodyLen() int64 {
	switch {
	case t.kind == FLOAT:
		return 8
	case !t.hasBody():
		return 0
	case t.n > math.MaxInt64:
		return math.MaxInt64
	}
	return int64(t.n)
}
