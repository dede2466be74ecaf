package gridtest

import (
	"bytes"
	"context"
	"math/rand/v2"

	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/grid"
	"tahoe-go/internal/grid/contact"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/memnet"
)

// Client is a client node's insides.
type Client struct {
	*immutable.Client
	Mutable *mutable.Client
	Servers *grid.Grid
	Host    *memnet.Host

	g    *Grid
	pool *contact.Pool
}

// convergence is one secret for all clients of a grid.
const convergence = "convergence secret of gridtest.."

// NewClient makes a client on a host of that name, and tells it of every
// server. It may not have connected to any yet: see grid.Grid.Wait.
func (g *Grid) NewClient(host string) *Client {
	g.t.Helper()
	c := &Client{g: g, Host: g.Net.Host(host)}
	lease := "lease secret of " + host + "................"
	g.Secret(host+"'s lease secret", lease)
	g.Secret("convergence secret", convergence)
	c.pool = contact.New(contact.Config{Network: c.Host, Timeouts: g.c.Timeouts, Log: g.log.With("client", host)})
	c.Servers = grid.New(grid.Config{Open: c.pool.Open, Log: g.log.With("client", host)})
	for _, s := range g.Servers {
		c.Servers.Add(s.Known)
	}
	var err error
	c.Client, err = immutable.New(immutable.Config{
		Servers: c.Servers, K: g.c.K, Happy: g.c.Happy, N: g.c.N, SegmentSize: g.c.SegmentSize,
		LeaseSecret: redact.New(lease), Patience: g.c.Patience, Log: g.log.With("client", host),
	})
	if err != nil {
		g.t.Fatalf("gridtest: %v", err)
	}
	m := g.c.Patience
	c.Mutable, err = mutable.New(mutable.Config{
		Servers: c.Servers, K: g.c.K, N: g.c.N, LeaseSecret: redact.New(lease), Log: g.log.With("client", host),
		Patience: mutable.Patience{Ask: m.Ask, Straggle: m.Straggle, Stall: m.Stall, Hedge: m.Hedge, Outage: m.Outage},
	})
	if err != nil {
		g.t.Fatalf("gridtest: %v", err)
	}
	g.clients = append(g.clients, c)
	return c
}

func (c *Client) close() {
	c.Client.Close()
	c.Mutable.Close()
	c.Servers.Close()
	if err := c.pool.Close(); err != nil {
		c.g.t.Errorf("gridtest: closing the clients of servers: %v", err)
	}
}

// Content returns size bytes that are the same each time and never repeat.
func Content(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)}).Read(b)
	return b
}

// Put uploads data. The cap, its key and the plaintext become secrets to look
// for; the error is heard.
func (c *Client) Put(ctx context.Context, data []byte, tr *immutable.Trace) (*immutable.Result, error) {
	c.g.Secret("plaintext", string(data[:min(len(data), 48)]))
	c.g.Secret("plaintext", string(data[len(data)/2:min(len(data)/2+48, len(data))]))
	res, err := c.Upload(ctx, immutable.Source{ReadSeeker: bytes.NewReader(data), Size: int64(len(data)), Convergence: redact.New(convergence)}, tr)
	if err != nil {
		return nil, c.g.Heard(err)
	}
	if cap, ok := res.Cap.(caps.CHK); ok {
		c.g.SecretCap(cap)
	}
	return res, nil
}

// MustPut is Put for an upload that has to succeed, of more than a LIT's size.
func (c *Client) MustPut(data []byte) (*immutable.Result, caps.CHK) {
	c.g.t.Helper()
	res, err := c.Put(c.g.t.Context(), data, nil)
	if err != nil {
		c.g.t.Fatalf("upload of %d bytes: %v", len(data), err)
	}
	return res, res.Cap.(caps.CHK)
}

// Get reads a range; the error is heard. What was read before an error is
// returned with it.
func (c *Client) Get(ctx context.Context, cap caps.CHK, off, n int64, tr *immutable.Trace) ([]byte, error) {
	f, err := c.Open(cap)
	if err != nil {
		return nil, c.g.Heard(err)
	}
	var b bytes.Buffer
	err = f.ReadRange(ctx, &b, off, n, tr)
	return b.Bytes(), c.g.Heard(err)
}

// MustGet reads the whole file, which has to be want.
func (c *Client) MustGet(cap caps.CHK, want []byte) {
	c.g.t.Helper()
	got, err := c.Get(c.g.t.Context(), cap, 0, cap.Size, nil)
	if err != nil || !bytes.Equal(got, want) {
		c.g.t.Fatalf("read %d of %d bytes, equal %v: %v", len(got), len(want), bytes.Equal(got, want), err)
	}
}
