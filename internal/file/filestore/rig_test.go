package filestore

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/file/directory"
	"tahoe-go/internal/file/immutable"
	"tahoe-go/internal/file/mutable"
	"tahoe-go/internal/format/caps"
	"tahoe-go/internal/format/dirtable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/storage"
	"tahoe-go/internal/storage/faultstore"
	"tahoe-go/internal/storage/memstore"
)

// rig is a Store over servers without a network.
type rig struct {
	t      testing.TB
	peers  []storage.Peer
	stores []*memstore.Store
	faults []*faultstore.Store
	store  *Store
	dirs   *directory.Client
	now    time.Time
}

func (r *rig) ForUpload(si storage.Index) []storage.Peer {
	out := slices.Clone(r.peers)
	slices.SortFunc(out, func(a, b storage.Peer) int {
		ra, rb := tagged.Permutation(si, a.Seed), tagged.Permutation(si, b.Seed)
		return bytes.Compare(ra[:], rb[:])
	})
	return out
}

func (r *rig) ForRead(si storage.Index) []storage.Peer { return r.ForUpload(si) }

// newRig makes a store of 1-of-2 on three servers.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Unix(1700000000, 0)}
	for i := range 3 {
		m := memstore.New(memstore.Config{})
		f := faultstore.For(t, m)
		r.stores, r.faults = append(r.stores, m), append(r.faults, f)
		id := fmt.Sprintf("v0-server%02d", i)
		r.peers = append(r.peers, storage.Peer{ID: id, Name: id, Seed: []byte(id), LeaseSeed: [20]byte{byte(i)}, Server: f})
	}
	lease := redact.New("lease secret of the test")
	i, err := immutable.New(immutable.Config{Servers: r, K: 1, Happy: 1, N: 2, LeaseSecret: lease})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mutable.New(mutable.Config{Servers: r, K: 1, N: 2, LeaseSecret: lease})
	if err != nil {
		t.Fatal(err)
	}
	r.dirs = directory.New(directory.Config{Mutable: m, Immutable: i, Convergence: redact.New("convergence"), Now: func() time.Time { return r.now }})
	r.store = New(Config{Immutable: i, Mutable: m, Directories: r.dirs})
	return r
}

// child is what a cap's text is as a child.
func (r *rig) child(text string) dirtable.Child {
	r.t.Helper()
	c, err := dirtable.NewChild(text, "", false)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// mkdir makes a directory of children given by their caps.
func (r *rig) mkdir(children map[string]caps.Cap) *directory.Directory {
	r.t.Helper()
	var kids []directory.NewChild
	for name, c := range children {
		kids = append(kids, directory.NewChild{Name: name, Child: directory.ChildOf(c)})
	}
	dir, err := r.dirs.Create(r.t.Context(), directory.CreateOptions{}, kids, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.open(dir)
}

func (r *rig) open(c caps.Dir) *directory.Directory {
	r.t.Helper()
	d, err := r.dirs.Open(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *rig) parse(text string) caps.Cap {
	r.t.Helper()
	c, err := caps.Parse(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// put stores an immutable file.
func (r *rig) put(data string) caps.Cap {
	r.t.Helper()
	res, err := r.store.c.Immutable.Upload(r.t.Context(), immutable.Source{ReadSeeker: bytes.NewReader([]byte(data)), Size: int64(len(data))}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.Cap
}

// remove loses all shares of a directory.
func (r *rig) remove(c caps.Cap) {
	r.t.Helper()
	si, _ := caps.Index(c)
	for _, s := range r.stores {
		for num := range storage.ShareNum(2) {
			s.Delete(si, num)
		}
	}
}
