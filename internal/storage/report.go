package storage

import (
	"errors"
	"fmt"
	"strings"

	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/kit/redact"
)

// LeaseSecrets derives what the peer records a lease on si under, from the
// node's private/secret.
func (p Peer) LeaseSecrets(master redact.Secret, si Index) LeaseSecrets {
	secret := []byte(master.Reveal())
	renew, cancel := tagged.LeaseRenew(secret, si, p.LeaseSeed), tagged.LeaseCancel(secret, si, p.LeaseSeed)
	return LeaseSecrets{Renew: redact.New(string(renew[:])), Cancel: redact.New(string(cancel[:]))}
}

// Answered reports whether err is a server's considered refusal, as opposed to
// a failure on the way to it or back.
func Answered(err error) bool {
	for _, no := range []error{ErrNotFound, ErrConflict, ErrTooLarge, ErrIncomplete, ErrNoSpace, ErrFragmented, ErrRefused, ErrBadWriteEnabler} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// ServerReport is what became of one server in an operation. It is data for
// people, complete enough to see who failed and why.
type ServerReport struct {
	ID, Name string
	Shares   []ShareNum // held or placed there
	Err      error      // why it did not (fully) take part; nil: it did
}

func (r ServerReport) String() string {
	name := r.Name
	if name == "" {
		name = r.ID
	}
	if r.Err == nil {
		return fmt.Sprintf("%s: %d shares", name, len(r.Shares))
	}
	return fmt.Sprintf("%s: %v", name, r.Err)
}

// Told is the end of an error's sentence: what each server said.
func Told(servers []ServerReport) string {
	if len(servers) == 0 {
		return "; no storage server is connected"
	}
	words := make([]string, len(servers))
	for i, s := range servers {
		words[i] = s.String()
	}
	return ": " + strings.Join(words, "; ")
}
