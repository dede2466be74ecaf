package immutable

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"tahoe-go/internal/format/chk"
	"tahoe-go/internal/storage"
)

// errSlow is the cause of a question given up because the others have long
// answered.
var errSlow = errors.New("no answer while the other servers had answered")

// errStalled is why a server that makes no progress is dropped.
var errStalled = errors.New("no progress")

// ErrNoServers: no storage server is connected that may be given new shares.
var ErrNoServers = errors.New("no storage server is connected that may be given new shares")

// errNobodyLeft ends the sending of shares that no server takes any more.
var errNobodyLeft = errors.New("every server that was to take a share has failed")

// damage is what is wrong with a share that err says is not what it should be;
// "" for other errors, which are the server's.
func damage(err error) string {
	if bad, ok := errors.AsType[*chk.CorruptError](err); ok {
		return bad.What
	}
	if errors.Is(err, io.EOF) { // shorter than its own table says
		return "truncated"
	}
	return ""
}

// ServerReport is what became of one server in an operation.
type ServerReport = storage.ServerReport

// UnhappyError says that a file could not be spread over enough servers.
// Nothing already stored is lost by it.
type UnhappyError struct {
	Happy, Want int // servers of happiness reached and asked for
	K, N        int
	Servers     []ServerReport
}

// Error says what was reached, what was wanted, and each server's own words.
func (e *UnhappyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "shares could be placed on %d distinct servers only, %d are wanted (any %d of %d shares rebuild the file)",
		e.Happy, e.Want, e.K, e.N)
	b.WriteString(storage.Told(e.Servers))
	return b.String()
}

// NotEnoughSharesError says that a file cannot be read now.
type NotEnoughSharesError struct {
	Have, Need int // distinct good shares
	Corrupt    int // shares found damaged
	Servers    []ServerReport
}

// Error counts the shares and gives each server's own words.
func (e *NotEnoughSharesError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of the %d shares needed were found", e.Have, e.Need)
	if e.Corrupt > 0 {
		fmt.Fprintf(&b, ", %d more are damaged", e.Corrupt)
	}
	b.WriteString(storage.Told(e.Servers))
	return b.String()
}

func checkEncoding(k, happy, n int) error {
	if 1 <= k && k <= happy && happy <= n && n <= 256 {
		return nil
	}
	return fmt.Errorf("shares.needed = %d, shares.happy = %d, shares.total = %d: it must hold that 1 <= needed <= happy <= total <= 256", k, happy, n)
}
