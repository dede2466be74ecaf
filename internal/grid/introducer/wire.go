package introducer

import (
	"errors"
	"fmt"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// Names of the protocol.
const (
	ifaceService    = "RIIntroducerPublisherAndSubscriberService_v2.tahoe.allmydata.com"
	ifaceSubscriber = "RIIntroducerSubscriberClient_v2.tahoe.allmydata.com"
	protocolV2      = "http://allmydata.org/tahoe/protocols/introducer/v2"
)

// Bounds of messages.
const (
	maxTriple   = announce.MaxMessage + 2<<10 // bytes of arguments of publish_v2
	maxAnnounce = 16 << 20                    // bytes of one announce_v2; other introducers send all they have in one
	maxInfo     = 16 << 10                    // bytes of arguments of subscribe_v2
	maxService  = 100                         // bytes of a service's name
	maxShown    = 200                         // bytes of a text of a peer that a status keeps

	batchCount = 256       // announcements in one announce_v2 of ours
	batchBytes = 256 << 10 // bytes in one, if it has more than one
)

// word takes a byte string, which some versions of the reference send as text.
func word(most int64) *banana.Schema { return banana.Choice(banana.Bytes(most), banana.Text(most)) }

var versionSchema = banana.DictOf(word(200), banana.Any(), 50)

// text returns a byte string or text, cut to what a status keeps; "" if it is
// neither.
func text(v any) string {
	switch v := v.(type) {
	case []byte:
		return string(v[:min(len(v), maxShown)])
	case string:
		return v[:min(len(v), maxShown)]
	}
	return ""
}

// lookup returns the value of a key that is a byte string or text.
func lookup(d banana.Dict, key string) (any, bool) {
	for _, p := range d {
		if text(p.Key) == key {
			return p.Value, true
		}
	}
	return nil, false
}

// toWire returns the triple as it is sent.
func toWire(s announce.Signed) banana.Tuple {
	return banana.Tuple{[]byte(s.Msg.Reveal()), []byte(s.Sig), []byte(s.Key)}
}

// fromWire reads a triple. Everything of it is copied.
func fromWire(v any) (announce.Signed, error) {
	t, ok := v.(banana.Tuple)
	if !ok || len(t) != 3 {
		return announce.Signed{}, fmt.Errorf("%w: not a message with signature and key", announce.ErrSyntax)
	}
	msg, ok := t[0].([]byte)
	if !ok {
		return announce.Signed{}, fmt.Errorf("%w: the message is not bytes", announce.ErrSyntax)
	}
	if len(msg) > announce.MaxMessage {
		return announce.Signed{}, fmt.Errorf("%w: %d bytes", announce.ErrSyntax, len(msg))
	}
	// Old versions send None for the other two: Verify says what is wrong.
	return announce.Signed{Msg: redact.New(string(msg)), Sig: text(t[1]), Key: text(t[2])}, nil
}

// refusal makes of an error what the peer may know. Errors of package announce
// show nothing of an announcement.
func refusal(err error) error {
	class := "builtins.ValueError"
	switch {
	case errors.Is(err, announce.ErrUnknownKey):
		class = "allmydata.introducer.common.UnknownKeyError"
	case errors.Is(err, announce.ErrSignature):
		class = "allmydata.crypto.error.BadSignature"
	}
	return &foolscap.RemoteError{Type: class, Value: err.Error()}
}
