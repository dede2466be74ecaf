// Package tubcert is a node's identity: the RSA key and self-signed
// certificate in private/node.pem, as Foolscap makes and reads them.
//
// The TubID is the base32 SHA-1 of the certificate, the pin of a NURL the
// SHA-256 of its public key. Dates and names in the certificate mean nothing
// to either side. This package does not verify peers and does no TLS itself.
// Start with LoadOrCreate.
package tubcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"time"

	"tahoe-go/internal/codec/base32"
	"tahoe-go/internal/kit/durable"
)

// FileName is the file's name in a node's private folder.
const FileName = "node.pem"

// What Foolscap puts into a certificate. (Its are X.509 version 1, ours 3
// without extensions; nobody looks.)
const (
	commonName = "newpb_thingy"
	lifetime   = 365 * 24 * time.Hour
	keyBits    = 2048
)

// maxFile bounds what is read: a 4096-bit key and certificate take 5 KiB.
const maxFile = 64 << 10

// ErrBadFile is the error for a node.pem without a matching key and
// certificate.
var ErrBadFile = errors.New("not a node certificate (want one certificate and its private key, in PEM)")

// Cert is a node's certificate with its private key. It is read-only and may
// be copied and used concurrently. The zero value holds nothing.
type Cert struct {
	der []byte
	// spkiHash is SHA-256 of the SubjectPublicKeyInfo.
	spkiHash [32]byte
	// tls hides the key in a function: fmt walks structs and, under a wrong
	// verb, pointers, but can show no more of a function than its address.
	tls func() tls.Certificate
}

// TubID is the node's Foolscap name: 32 base32 characters.
func (c Cert) TubID() string {
	id := c.TubIDBytes()
	return base32.Encode(id[:])
}

// TubIDBytes is the SHA-1 of the DER certificate. Leases and write enablers
// are derived from it.
func (c Cert) TubIDBytes() [20]byte { return sha1.Sum(c.der) }

// SPKI is the SHA-256 of the certificate's SubjectPublicKeyInfo, which NURLs
// pin.
func (c Cert) SPKI() [32]byte { return c.spkiHash }

// TLS returns the certificate for a tls.Config. The result holds the private
// key: never print or keep it elsewhere.
func (c Cert) TLS() tls.Certificate {
	if c.tls == nil {
		return tls.Certificate{}
	}
	return c.tls()
}

// IsZero reports whether c holds nothing.
func (c Cert) IsZero() bool { return c.tls == nil }

// String names the certificate by the start of its TubID.
func (c Cert) String() string {
	if c.IsZero() {
		return "cert:none"
	}
	return "cert:" + c.TubID()[:8]
}

// Format prints what String returns, for every verb.
func (c Cert) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalJSON writes what String returns.
func (c Cert) MarshalJSON() ([]byte, error) { return []byte(`"` + c.String() + `"`), nil }

// Parse reads a node.pem: a certificate and its key (PKCS #1, PKCS #8 or
// SEC 1) in either order. Errors are ErrBadFile and show nothing of the input.
func Parse(data []byte) (Cert, error) {
	if len(data) > maxFile {
		return Cert{}, fmt.Errorf("%w: longer than %d bytes", ErrBadFile, maxFile)
	}
	tc, err := tls.X509KeyPair(data, data)
	if err != nil {
		return Cert{}, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	leaf, err := x509.ParseCertificate(tc.Certificate[0])
	if err != nil {
		return Cert{}, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	return Cert{
		der:      leaf.Raw,
		spkiHash: SPKI(leaf),
		tls:      func() tls.Certificate { return tc },
	}, nil
}

// SPKI is the pin of any certificate: SHA-256 of its SubjectPublicKeyInfo.
func SPKI(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// TubID is the Foolscap name that goes with any certificate.
func TubID(c *x509.Certificate) string {
	id := sha1.Sum(c.Raw)
	return base32.Encode(id[:])
}

// Generate makes a new identity and returns it as the text of a node.pem:
// RSA 2048, self-signed with SHA-256, valid for a year from now. The
// certificate comes first and the key as PKCS #8, as in Foolscap's files.
func Generate(now time.Time) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("making the node key: %w", err)
	}
	now = now.UTC().Truncate(time.Second)
	tmpl := &x509.Certificate{
		SerialNumber:       big.NewInt(1),
		Subject:            pkix.Name{CommonName: commonName},
		NotBefore:          now,
		NotAfter:           now.Add(lifetime),
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the node certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the node key: %w", err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return b.Bytes(), nil
}

// Ephemeral makes an identity for one use, with a key that takes no time to
// make: P-256. Nothing in it tells whose it is.
func Ephemeral() (Cert, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Cert{}, fmt.Errorf("making a key: %w", err)
	}
	// The dates are everybody's: those of now would tell when this node started.
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    time.Unix(0, 0), NotAfter: time.Unix(1<<31-1, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return Cert{}, fmt.Errorf("signing a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Cert{}, fmt.Errorf("reading back a certificate: %w", err)
	}
	tc := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return Cert{der: der, spkiHash: SPKI(leaf), tls: func() tls.Certificate { return tc }}, nil
}

// Load reads name (usually FileName) in the folder private. A missing file is
// fs.ErrNotExist.
func Load(private *os.Root, name string) (Cert, error) {
	f, err := private.Open(name)
	if err != nil {
		return Cert{}, fmt.Errorf("opening the node certificate: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Cert{}, fmt.Errorf("reading the node certificate: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Cert{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// LoadOrCreate is Load, but makes the file first if there is none. The file
// appears whole, with mode 0600, and never replaces another: of two processes
// that start at once both get the same identity.
func LoadOrCreate(private *os.Root, name string, now time.Time) (Cert, error) {
	c, err := Load(private, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	data, err := Generate(now)
	if err != nil {
		return Cert{}, err
	}
	err = durable.FS{Root: private}.WriteNewFile(name, data, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Cert{}, fmt.Errorf("writing the node certificate: %w", err)
	}
	return Load(private, name)
}
