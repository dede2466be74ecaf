// Package caps has the capabilities: the strings that grant reading, writing
// or verifying one object.
//
//	URI:CHK:KEY:UEBHASH:K:N:SIZE        immutable file      CHK → CHKVerifier
//	URI:LIT:DATA                        tiny immutable file LIT
//	URI:SSK:WRITEKEY:FINGERPRINT        mutable file        SSK → SSKRead → SSKVerifier
//	URI:MDMF:…                          the same, for large ones
//	URI:DIR2…:                          a directory kept in any of them: Dir
//
// A cap is the authority itself, so no cap and no key prints: String, every
// fmt verb, slog and JSON show a tag such as cap:chk:k3xq…, taken from the
// storage index. Reveal gives the text. All types are comparable and may be
// map keys, and all are values: nothing here needs locking.
//
// The package talks to nothing. Keys of mutable files are made in other
// packages; what a cap's bytes mean to shares is in chk. Start with Parse.
package caps

import (
	"errors"

	"tahoe-go/internal/codec/ids"
	"tahoe-go/internal/codec/tagged"
	"tahoe-go/internal/kit/redact"
)

// Errors to branch on. No error of this package shows the text of a cap.
var (
	ErrSyntax      = errors.New("malformed cap")
	ErrUnknownKind = errors.New("unknown kind of cap")
	// ErrNotWritable: a write was asked of a cap that does not grant it.
	ErrNotWritable = errors.New("cap does not grant writing")
	// ErrWritable: a cap marked or needed read-only grants writing.
	ErrWritable = errors.New("cap grants writing where only reading may be granted")
	// ErrMutable: a cap marked or needed immutable names something that may
	// change.
	ErrMutable = errors.New("cap to something mutable where only immutable things may be")
)

// Kind names a kind of cap in lower case: "chk", "ssk-ro", "dir2-mdmf".
type Kind string

// KindUnknown is the kind of an Unknown.
const KindUnknown Kind = "unknown"

// Cap is one of CHK, CHKVerifier, LIT, SSK, SSKRead, SSKVerifier, Dir and
// Unknown. Two Caps that are equal grant the same.
type Cap interface {
	Kind() Kind
	// Reveal returns the text of the cap, which is the authority.
	Reveal() string
	// String returns a tag that is safe to show.
	String() string
	sealed()
}

// Key is a key of 16 bytes that does not print. The zero Key is no key.
type Key struct{ secret redact.Secret }

// NewKey holds k.
func NewKey(k [16]byte) Key { return Key{redact.New(string(k[:]))} }

// Reveal returns the bytes, or zeros for no key.
func (k Key) Reveal() (b [16]byte) {
	copy(b[:], k.secret.Reveal())
	return b
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.secret.IsZero() }

// CHK grants reading of an immutable file.
type CHK struct {
	Key     Key         // AES-128
	UEBHash tagged.Hash // of the URI extension block
	K, N    int         // 1 <= K <= N <= 256
	Size    int64       // of the plaintext, in bytes
}

// Index is the storage index of the file's shares.
func (c CHK) Index() ids.Index { return tagged.StorageIndex(c.Key.Reveal()) }

// Verifier is the cap that grants checking and repairing, not reading.
func (c CHK) Verifier() CHKVerifier {
	return CHKVerifier{Index: c.Index(), UEBHash: c.UEBHash, K: c.K, N: c.N, Size: c.Size}
}

// CHKVerifier grants checking and repairing of an immutable file's shares.
type CHKVerifier struct {
	Index   ids.Index
	UEBHash tagged.Hash
	K, N    int
	Size    int64 // of the plaintext, in bytes
}

// MaxLIT is the most data, in bytes, that writers put into a LIT. Parse takes
// longer ones too.
const MaxLIT = 55

// LIT is an immutable file inside its cap. The zero LIT is an empty file.
type LIT struct{ data redact.Secret }

// NewLIT holds a copy of data.
func NewLIT(data []byte) LIT {
	if len(data) == 0 { // so that it equals the zero LIT
		return LIT{}
	}
	return LIT{redact.New(string(data))}
}

// Data returns a copy of the file.
func (c LIT) Data() []byte { return []byte(c.data.Reveal()) }

// Size is the length of the file, in bytes.
func (c LIT) Size() int64 { return int64(len(c.data.Reveal())) }

// SSK grants writing and reading of a mutable file.
type SSK struct {
	WriteKey    Key
	Fingerprint tagged.Hash // of the public key that signs the file
	MDMF        bool        // the layout for large files, otherwise SDMF
}

// Read is the cap that grants reading only.
func (c SSK) Read() SSKRead {
	return SSKRead{NewKey(tagged.ReadKey(c.WriteKey.Reveal())), c.Fingerprint, c.MDMF}
}

// Index is the storage index of the file's shares.
func (c SSK) Index() ids.Index { return c.Read().Index() }

// SSKRead grants reading of a mutable file.
type SSKRead struct {
	ReadKey     Key
	Fingerprint tagged.Hash
	MDMF        bool
}

// Index is the storage index of the file's shares.
func (c SSKRead) Index() ids.Index { return tagged.MutableIndex(c.ReadKey.Reveal()) }

// Verifier is the cap that grants checking only.
func (c SSKRead) Verifier() SSKVerifier { return SSKVerifier{c.Index(), c.Fingerprint, c.MDMF} }

// SSKVerifier grants checking of a mutable file's shares.
type SSKVerifier struct {
	Index       ids.Index
	Fingerprint tagged.Hash
	MDMF        bool
}

// Dir is a cap to a directory, and grants on it what the cap of the file that
// holds its table grants. Make it with NewDir; the zero Dir is not valid.
type Dir struct{ file Cap }

// NewDir returns the directory kept in file. A Dir or Unknown holds none
// (ErrUnknownKind).
func NewDir(file Cap) (Dir, error) {
	switch file.(type) {
	case nil, Dir, Unknown:
		return Dir{}, ErrUnknownKind
	}
	return Dir{file}, nil
}

// File is the cap of the file that holds the directory's table.
func (c Dir) File() Cap { return c.file }

// Unknown is a cap that this program cannot use but keeps for others: of a
// future kind, malformed, or breaking its ro. or imm. prefix. It comes from
// Keep only.
type Unknown struct {
	text redact.Secret // prefix and all
	why  reason
}

// Err says why the cap is unknown: it is ErrUnknownKind for a future kind,
// which may be passed on, and another error of this package for caps that
// should not be.
func (c Unknown) Err() error { return c.why.err() }

// ReadOnly reports whether the text claims to grant no more than reading, and
// nothing that this program knows speaks against it.
func (c Unknown) ReadOnly() bool { return c.claim() >= ReadOnly }

// Immutable reports the same of a claim to name something immutable.
func (c Unknown) Immutable() bool { return c.claim() == Immutable }

// claim is the context that the text may be believed to keep to.
func (c Unknown) claim() Context {
	if c.Err() != ErrUnknownKind {
		return Anywhere
	}
	_, in := cutPrefix(c.text.Reveal())
	return in
}

func (CHK) sealed()         {}
func (CHKVerifier) sealed() {}
func (LIT) sealed()         {}
func (SSK) sealed()         {}
func (SSKRead) sealed()     {}
func (SSKVerifier) sealed() {}
func (Dir) sealed()         {}
func (Unknown) sealed()     {}
