package banana

import (
	"bufio"
	"io"
)

// Limits bound what a peer can make a Decoder do. The zero value of a field is
// its default.
type Limits struct {
	Depth int   // of nesting; default 32
	Skip  int64 // bytes of a refused message that are read and dropped before the connection is given up; default 64 MiB
}

const (
	defaultDepth = 32
	defaultSkip  = 64 << 20
	skipDepth    = 10000    // nesting of what is skipped
	nodeCost     = 64       // what a value takes beside its bytes: an interface, a box, its part of slices
	maxNumber    = 128      // bytes of a LONGINT
	bufferSize   = 16 << 10 // one TLS record
)

// Refs are the functions that make values of references; nil refuses them.
type Refs struct {
	// Mine is an object of the sender. iface and furl stand only where the
	// sender mentions it for the first time, and are at most 1000 bytes.
	Mine func(clid int64, iface, furl []byte) (any, error)
	// Yours is an object of the receiver.
	Yours func(clid int64) (any, error)
}

// Decoder reads messages: sequences at the top level. It is not for concurrent
// use. Errors are *Violation, after which Skip finds the next message, or
// final: *ProtocolError, *PeerError or that of the reader, which is io.EOF
// only between messages.
type Decoder struct {
	// Refs makes values of references.
	Refs Refs
	// Ping is called for each PING, wherever it stands.
	Ping func(n uint64) error
	// Reserve is called as values of a message on loan (see Begin) arrive, for
	// the memory that they take, in bytes; its error refuses the message.
	Reserve func(n int64) error

	r      *bufio.Reader
	limits Limits
	ahead  token // valid if peeked
	peeked bool

	opens  []uint64 // the numbers of the sequences that are open
	count  int64    // OPENs so far
	budget int64    // what the message may still cost, in bytes
	pooled bool
	loans  [][]byte
	base   int64    // count at the start of the message
	shared []shared // by count since base: what "reference" may name
	body   int64    // bytes of the present token that are still unread
}

type shared struct {
	value any
	cost  int64
	done  bool
}

// NewDecoder reads from r.
func NewDecoder(r io.Reader, limits Limits) *Decoder {
	if limits.Depth == 0 {
		limits.Depth = defaultDepth
	}
	if limits.Skip == 0 {
		limits.Skip = defaultSkip
	}
	return &Decoder{r: bufio.NewReaderSize(r, bufferSize), limits: limits}
}

// Buffered reports whether bytes wait that were read ahead.
func (d *Decoder) Buffered() bool { return d.peeked || d.r.Buffered() > 0 }

// Wait blocks until the next message begins, without taking anything of it,
// and answers PINGs meanwhile.
func (d *Decoder) Wait() error {
	_, err := d.peek()
	return err
}

// Begin begins the next message and sets what its values may cost: their
// bytes, and about 64 for each value. With pooled, large byte strings are on
// loan: see Loans.
func (d *Decoder) Begin(budget int64, pooled bool) {
	d.Continue(budget, pooled)
	d.base, d.shared, d.loans = d.count, nil, nil
}

// Continue sets anew what the rest of the message may cost, once its beginning
// has told what it is.
func (d *Decoder) Continue(budget int64, pooled bool) { d.budget, d.pooled = budget, pooled }

// Budget is what the message may still cost.
func (d *Decoder) Budget() int64 { return d.budget }

// Loans returns the buffers behind the large byte strings since Begin. When
// nobody uses the values any more each goes to PutBuffer.
func (d *Decoder) Loans() [][]byte {
	l := d.loans
	d.loans = nil
	return l
}

// Depth is how many sequences are open.
func (d *Decoder) Depth() int { return len(d.opens) }

// next returns the next token that is not PING or PONG.
func (d *Decoder) next() (token, error) {
	if d.peeked {
		d.peeked = false
		return d.ahead, nil
	}
	for {
		t, err := readToken(d.r)
		if err != nil {
			if len(d.opens) > 0 {
				err = unexpected(err)
			}
			return t, err
		}
		d.body = t.bodyLen()
		switch t.kind {
		case INT, NEG, STRING, FLOAT, LONGINT, LONGNEG, OPEN, CLOSE, ABORT:
			return t, nil
		case VOCAB:
			if t.n >= uint64(len(vocabulary)) {
				return t, protocolErr("a word that is not in the vocabulary")
			}
			return t, nil
		case PING:
			if d.Ping != nil {
				if err := d.Ping(t.n); err != nil {
					return t, err
				}
			}
		case PONG:
		case ERROR:
			return t, d.peerError(t)
		default:
			return t, protocolErr("an invalid token type 0x%02x", t.kind)
		}
	}
}

func (d *Decoder) peek() (token, error) {
	if d.peeked {
		return d.ahead, nil
	}
	t, err := d.next()
	if err != nil {
		return t, err
	}
	d.ahead, d.peeked = t, true
	return t, nil
}

func (d *Decoder) peerError(t token) error {
	if t.n > MaxErrorText {
		return protocolErr("an ERROR token of more than %d bytes", MaxErrorText)
	}
	b := make([]byte, t.n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		return unexpected(err)
	}
	return &PeerError{Text: string(b)}
}

func (d *Decoder) spend(n int64) error {
	if n > d.budget {
		return violation("a message larger than this call may be")
	}
	d.budget -= n
	return nil
}

// hold reserves memory for what has arrived, or is about to.
func (d *Decoder) hold(n int) error {
	if !d.pooled || d.Reserve == nil {
		return nil
	}
	return d.Reserve(int64(n))
}

// push notes an OPEN that was read.
func (d *Decoder) push(t token) error {
	d.opens = append(d.opens, t.n)
	d.count++
	if len(d.opens) > d.limits.Depth {
		return violation("more than %d sequences inside each other", d.limits.Depth)
	}
	return nil
}

// pop notes a CLOSE that was read.
func (d *Decoder) pop(t token) error {
	last := len(d.opens) - 1
	if last < 0 {
		return protocolErr("a CLOSE without its OPEN")
	}
	if d.opens[last] != t.n {
		return protocolErr("a CLOSE that is not that of the innermost OPEN")
	}
	d.opens = d.opens[:last]
	return nil
}

// Open reads the beginning of a sequence and returns its type.
func (d *Decoder) Open() (string, error) {
	t, err := d.next()
	if err != nil {
		return "", err
	}
	if t.kind != OPEN {
		if len(d.opens) == 0 {
			return "", protocolErr("%s outside of any sequence", t)
		}
		return "", d.unwelcome(t, "a sequence")
	}
	return d.opentype(t)
}

// opentype reads what follows OPEN.
func (d *Decoder) opentype(t token) (string, error) {
	if err := d.push(t); err != nil {
		return "", err
	}
	t, err := d.next()
	if err != nil {
		return "", unexpected(err)
	}
	switch t.kind {
	case VOCAB:
		return vocabulary[t.n], nil
	case STRING:
		if t.n > longestWord {
			return "", violation("a sequence of unknown type")
		}
		b, err := d.readBody()
		return string(b), err
	case OPEN:
		return "", protocolErr("OPEN where a sequence's type belongs")
	}
	return "", d.unwelcome(t, "a sequence's type")
}

// Close reads the end of the innermost sequence.
func (d *Decoder) Close() error {
	t, err := d.next()
	if err != nil {
		return err
	}
	if t.kind != CLOSE {
		return d.unwelcome(t, "the end of a sequence")
	}
	return d.pop(t)
}

// More reports whether the innermost sequence goes on.
func (d *Decoder) More() (bool, error) {
	t, err := d.peek()
	return t.kind != CLOSE, err
}

// unwelcome is the error for a token that was read and does not belong here.
func (d *Decoder) unwelcome(t token, want string) error {
	if t.kind == ABORT {
		return errAborted
	}
	return d.refuse(t, violation("%s where %s belongs", t, want))
}

// refuse returns why, and keeps count of the nesting.
func (d *Decoder) refuse(t token, why error) error {
	switch t.kind {
	case OPEN:
		d.opens = append(d.opens, t.n)
		d.count++
	case CLOSE:
		if err := d.pop(t); err != nil {
			return err
		}
	}
	return why
}

// Uint reads a number that is not negative and fits 63 bits.
func (d *Decoder) Uint() (int64, error) {
	v, err := d.Value(Size())
	if err != nil {
		return 0, err
	}
	return v.(int64), nil
}

// Word reads a byte string of at most max bytes.
func (d *Decoder) Word(max int64) (string, error) {
	v, err := d.Value(Bytes(max))
	if err != nil {
		return "", err
	}
	return string(v.([]byte)), nil
}

// Skip reads and drops until depth sequences are open, and what is left of a
// token that was refused.
func (d *Decoder) Skip(depth int) error {
	skip := d.limits.Skip
	for {
		if err := d.drop(&skip); err != nil {
			return err
		}
		if len(d.opens) <= depth {
			return nil
		}
		t, err := d.next()
		if err != nil {
			return err
		}
		skip -= 2
		switch t.kind {
		case OPEN:
			if len(d.opens) > skipDepth {
				return protocolErr("more than %d sequences inside each other", skipDepth)
			}
			d.opens = append(d.opens, t.n)
			d.count++
		case CLOSE:
			if err := d.pop(t); err != nil {
				return err
			}
		}
	}
}

// drop reads the body of the present token.
func (d *Decoder) drop(skip *int64) error {
	if d.peeked {
		return nil // its turn comes
	}
	if d.body > *skip || *skip <= 0 {
		return protocolErr("a refused message of more than %d bytes", d.limits.Skip)
	}
	for d.body > 0 {
		n, err := d.r.Discard(int(min(d.body, 1<<20)))
		d.body -= int64(n)
		*skip -= int64(n)
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}
