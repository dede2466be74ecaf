package foolscap

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/network/foolscap/banana"
	"tahoe-go/internal/network/tubcert"
)

// The one version of banana there is.
const version = 3

const (
	plainRequest = "GET /id/%s HTTP/1.1\r\nHost: %s\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"
	plainAnswer  = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, PB/1.0\r\nConnection: Upgrade\r\n\r\n"
)

// requestPrefix begins every inbound connection.
const requestPrefix = "GET /id/"

// PeekLen is how many bytes Speaks needs.
const PeekLen = len(requestPrefix)

// Speaks reports whether a connection whose first PeekLen bytes are these is
// for Serve.
func Speaks(first []byte) bool { return string(first) == requestPrefix }

// link is one connection on its way to become a Conn.
type link struct {
	raw    net.Conn      // as it came: deadlines go here
	stage  time.Duration // for each part of the negotiation
	dialed bool          // by this side
	want   string        // the TubID this side asked for, if dialed
	info   ConnInfo

	settled atomic.Bool // it has become a Conn
}

// limit gives the next part of the negotiation its time.
func (l *link) limit() { l.raw.SetDeadline(time.Now().Add(l.stage)) }

// accept plays the listening side, up to TLS.
func (t *Tub) accept(ctx context.Context, l *link, peeked []byte) (*tls.Conn, error) {
	l.limit()
	r := bufio.NewReaderSize(&replay{l.raw, peeked}, maxBlock)
	lines, err := readHeader(r)
	if err == nil {
		err = t.checkRequest(lines)
	}
	if err != nil {
		if e, ok := errors.AsType[*NegotiationError](err); ok {
			l.raw.Write([]byte("HTTP/1.1 500 Internal Server Error: " + e.Why + "\r\n\r\n"))
		}
		return nil, err
	}
	if _, err := l.raw.Write([]byte(plainAnswer)); err != nil {
		return nil, err
	}
	rest, _ := r.Peek(r.Buffered())
	c := tls.Server(&replay{l.raw, rest}, t.id.tls)
	return c, handshake(ctx, l, c)
}

// checkRequest reads the request line, which names a Tub.
func (t *Tub) checkRequest(lines []string) error {
	if len(lines) == 0 {
		return refuse("an empty request")
	}
	words := strings.Split(lines[0], " ")
	if len(words) != 3 || words[0] != "GET" || !strings.HasPrefix(words[2], "HTTP/1.") {
		return refuse("not right")
	}
	id, ok := strings.CutPrefix(words[1], "/id/")
	if !ok || !isTubID(id) {
		return refuse("not right")
	}
	if id != t.id.tubID {
		return refuse("unknown TubID %s", id)
	}
	return nil
}

func isTubID(s string) bool {
	b, err := base32.Decode(s)
	return err == nil && len(b) == sha1.Size
}

// open plays the dialling side, up to TLS. host is for the Host line.
func (t *Tub) open(ctx context.Context, l *link, host string) (*tls.Conn, error) {
	l.limit()
	if _, err := fmt.Fprintf(l.raw, plainRequest, l.want, host); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(l.raw, maxBlock)
	lines, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if err := switched(lines); err != nil {
		return nil, err
	}
	rest, _ := r.Peek(r.Buffered())
	c := tls.Client(&replay{l.raw, rest}, t.id.tls)
	return c, handshake(ctx, l, c)
}

// switched checks the answer to the request.
func switched(lines []string) error {
	if len(lines) == 0 {
		return refuse("an empty answer")
	}
	_, status, _ := strings.Cut(lines[0], " ")
	code, text, _ := strings.Cut(status, " ")
	if code != "101" {
		if _, why, ok := strings.Cut(text, ": "); ok {
			return &NegotiationError{Why: why, Remote: true}
		}
		return refuse("the answer is not 101 Switching Protocols; is this a Foolscap server?")
	}
	for _, line := range lines[1:] {
		if strings.HasPrefix(line, "Upgrade: TLS/1.0") {
			return nil
		}
	}
	return refuse("the answer does not switch to TLS")
}

func handshake(ctx context.Context, l *link, c *tls.Conn) error {
	l.limit()
	err := c.HandshakeContext(ctx)
	if err != nil {
		return &NegotiationError{Why: "TLS: " + err.Error()}
	}
	return nil
}

// certID is the TubID of the certificate the peer has shown.
func certID(c *tls.Conn) (string, error) {
	certs := c.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return "", refuse("the peer has no certificate")
	}
	return tubcert.TubID(certs[0]), nil
}

// tlsConfig proves who this side is and takes any certificate of the peer:
// which one it must be is checked against its TubID.
func tlsConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS12,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the peer has no certificate")
			}
			return nil
		},
	}
}

// stream is what hello talks over: TLS, or in tests a pipe.
type stream struct {
	net.Conn
	r *bufio.Reader
}

// hello exchanges hello blocks, decides or takes the decision, and returns the
// connection, which is the Tub's for this peer from then on. peer is the TubID
// of the certificate seen.
func (t *Tub) hello(l *link, s stream, peer string) (*Conn, error) {
	l.limit()
	if _, err := s.Write(t.offer(l).encode()); err != nil {
		return nil, err
	}
	theirs, err := readBlock(s.r)
	if err != nil {
		return nil, tell(s, err)
	}
	if why, ok := theirs["error"]; ok {
		return nil, &NegotiationError{Why: why, Remote: true}
	}
	if err := t.checkOffer(l, theirs, peer); err != nil {
		return nil, tell(s, err)
	}
	if t.id.tubID > peer {
		return t.master(l, s, theirs, peer)
	}
	return t.slave(l, s, peer)
}

// tell says why to the peer if it is this side that refuses, and returns why.
func tell(s stream, why error) error {
	if e, ok := errors.AsType[*NegotiationError](why); ok && !e.Remote {
		s.Write(block{"banana-decision-version": "1", "error": e.Why}.encode())
	}
	return why
}

func (t *Tub) offer(l *link) block {
	b := block{
		"banana-negotiation-range":  "3 3",
		"initial-vocab-table-range": "0 1",
		"my-incarnation":            t.id.incarnation,
		"my-tub-id":                 t.id.tubID,
	}
	if l.dialed {
		b["last-connection"] = t.lastRecord(l.want).String()
	}
	return b
}

func (t *Tub) checkOffer(l *link, theirs block, peer string) error {
	low, high, err := theirs.pair("banana-negotiation-range")
	if err != nil {
		return err
	}
	if low > version || high < version {
		return refuse("I can't handle banana version %d to %d", low, high)
	}
	if theirs["my-tub-id"] != peer {
		return refuse("TubID mismatch")
	}
	if l.dialed && peer != l.want {
		return refuse("connected to the wrong Tub")
	}
	if peer == t.id.tubID {
		return refuse("connected to myself")
	}
	if _, ok := theirs["initial-vocab-table-range"]; !ok {
		return refuse("You can't handle initial vocab set %d", banana.VocabIndex)
	}
	low, high, err = theirs.pair("initial-vocab-table-range")
	if err == nil && (low > banana.VocabIndex || high < banana.VocabIndex) {
		err = refuse("You can't handle initial vocab set %d", banana.VocabIndex)
	}
	return err
}

// master decides. The new connection counts from before the peer hears of it,
// so that of two offers at once one is refused.
func (t *Tub) master(l *link, s stream, theirs block, peer string) (*Conn, error) {
	c, rec, err := t.decide(l, s, theirs, peer)
	if err != nil {
		return nil, tell(s, err)
	}
	decision := block{
		"banana-decision-version":   strconv.Itoa(version),
		"current-connection":        rec.String(),
		"initial-vocab-table-index": strconv.Itoa(banana.VocabIndex) + " " + banana.VocabHash,
	}
	if _, err := s.Write(decision.encode()); err != nil {
		c.end(err)
		return nil, err
	}
	return c, nil
}

func (t *Tub) slave(l *link, s stream, peer string) (*Conn, error) {
	d, err := readBlock(s.r)
	if err != nil {
		return nil, err
	}
	if why, ok := d["error"]; ok {
		return nil, &NegotiationError{Why: why, Remote: true}
	}
	if d["banana-decision-version"] != strconv.Itoa(version) {
		return nil, refuse("a decision for another version of banana")
	}
	index, hash, _ := strings.Cut(d["initial-vocab-table-index"], " ")
	if index != strconv.Itoa(banana.VocabIndex) || hash != banana.VocabHash {
		return nil, refuse("a decision for another vocabulary")
	}
	rec, ok := parseRecord(d["current-connection"])
	if !ok {
		rec = noRecord // only peers older than Foolscap 0.2 say nothing here
	}
	return t.follow(l, s, peer, rec)
}

// replay is a connection of which some bytes have been read already.
type replay struct {
	net.Conn
	rest []byte
}

func (c *replay) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
