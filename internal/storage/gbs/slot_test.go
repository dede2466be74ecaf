package gbs

import (
	"strings"

	"tahoe-go/internal/storage"
)

const slotPath = "/storage/v1/mutable/" + siText

// testEnabler is the one of enablerLine.
var testEnabler = storage.NewWriteEnabler([32]byte([]byte(strings.Repeat("w", 32))))

// slotBody is a message of read-test-write.
func slotBody(writes map[storage.ShareNum]storage.SlotWrite, spans ...storage.Span) string {
	return string((&slotRequest{writes, spans}).encode())
}
