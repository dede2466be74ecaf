package foolscap

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap/banana"
)

// The broker is the object with number 0 on either side: it finds objects by
// name and takes references back.

var brokerMethods = map[string]*Method{
	"getReferenceByName": {
		Args: []Arg{{Name: "name", Schema: banana.Bytes(600)}},
		Do: func(_ context.Context, c *Call) (any, error) {
			name := string(c.Bytes(0))
			if obj := c.Conn.tub.named(redact.New(name)); obj != nil {
				return obj, nil
			}
			return nil, unknownName(name)
		},
	},
	"decref": {
		Args: []Arg{{Name: "clid", Schema: banana.Int(1, 1<<31-1)}, {Name: "count", Schema: banana.Int(1, 1<<31-1)}},
		Do: func(_ context.Context, c *Call) (any, error) {
			c.Conn.mu.Lock()
			defer c.Conn.mu.Unlock()
			if l := c.Conn.lent[c.Int(0)]; l != nil {
				c.Conn.unlend(l, int(c.Int(1)))
			}
			return nil, nil
		},
	},
	"decgift": { // of gifts, and we give none
		Args: []Arg{{Name: "giftID", Schema: banana.Size()}, {Name: "count", Schema: banana.Size()}},
		Do:   func(context.Context, *Call) (any, error) { return nil, nil },
	},
}

// unknownName shows two letters of the name, in Python's words, as Foolscap
// does.
func unknownName(name string) error {
	return &RemoteError{
		Type:    typeKeyError,
		Value:   fmt.Sprintf(`"unable to find reference for name starting with '%s'"`, printable(name[:min(len(name), 2)])),
		Parents: []string{typeKeyError, "builtins.LookupError", typeException, "builtins.BaseException", "builtins.object"},
	}
}

// lookup asks the peer for an object by name.
func (c *Conn) lookup(ctx context.Context, name redact.Secret) (*Ref, error) {
	v, err := c.call(ctx, 0, "getReferenceByName", banana.Reference(), nil, []banana.Pair{{Key: "name", Value: []byte(name.Reveal())}})
	if err != nil {
		return nil, fmt.Errorf("asking for an object by its name: %w", err)
	}
	r, ok := v.(*Ref)
	if !ok {
		return nil, fmt.Errorf("asking for an object by its name: %w", &banana.Violation{Why: "one of our own objects"})
	}
	return r, nil
}

// nameKey keeps names out of maps, and the time of a lookup from telling how
// much of a name was right.
func nameKey(name redact.Secret) [32]byte { return sha256.Sum256([]byte(name.Reveal())) }

// Register makes obj what peers find under name (a swissnum), in place of what
// was there, and returns its address. An object has one name, the last one.
func (t *Tub) Register(name redact.Secret, obj *Object) furl.FURL {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(t.names[nameKey(name)])
	t.forgetLocked(obj)
	t.names[nameKey(name)], t.nameOf[obj] = obj, name
	return t.furlLocked(name)
}

// Unregister ends what Register did. References that peers have stay good.
func (t *Tub) Unregister(obj *Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(obj)
}

func (t *Tub) forgetLocked(obj *Object) {
	if name, ok := t.nameOf[obj]; ok {
		delete(t.names, nameKey(name))
		delete(t.nameOf, obj)
	}
}

func (t *Tub) furlLocked(name redact.Secret) furl.FURL {
	return furl.FURL{TubID: t.id.tubID, Hints: slices.Clone(t.hints), Swissnum: name}
}

func (t *Tub) named(name redact.Secret) *Object {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.names[nameKey(name)]
}

func (t *Tub) furlOf(obj *Object) (furl.FURL, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, ok := t.nameOf[obj]
	return t.furlLocked(name), ok
}
