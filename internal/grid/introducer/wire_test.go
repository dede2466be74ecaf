package introducer

import (
	"testing"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/format/furl"
	"tahoe-go/internal/network/foolscap"
	"tahoe-go/internal/network/foolscap/banana"
)

// publishOnce publishes one announcement as a peer that does nothing else.
func publishOnce(t *testing.T, tub *foolscap.Tub, at furl.FURL, signed announce.Signed) error {
	return publishRaw(t, tub, at, toWire(signed))
}

func publishRaw(t *testing.T, tub *foolscap.Tub, at furl.FURL, triple any) error {
	t.Helper()
	ref, err := tub.Dial(t.Context(), at, foolscap.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ref.Call(t.Context(), "publish_v2", banana.None(), triple, &foolscap.Object{})
	return err
}
