package tubcert

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tahoe-go/internal/kit/redact/redacttest"
)

// Names of the certificate in testdata, as OpenSSL and an independent base32
// computed them. It is an X.509 version 1 certificate, as Foolscap makes.
const (
	goldenTubID = "z4icleypqhq2zhnsb2t5ltrgfinatyc5"
	goldenSPKI  = "9J47y85CfmSov80UO0rZAntwDaOVWqg6i3DIRg2X2B4"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// generated is one identity for all tests, as keys are slow to make.
var generated = sync.OnceValues(func() ([]byte, error) {
	return Generate(time.Date(2026, 5, 4, 3, 2, 1, 999, time.UTC))
})

func TestParseGolden(t *testing.T) {
	pkcs1, pkcs8 := readFile(t, "testdata/pkcs1.pem"), readFile(t, "testdata/pkcs8.pem")
	i := bytes.Index(pkcs1, []byte("-----BEGIN RSA"))
	for name, data := range map[string][]byte{
		"PKCS #1":   pkcs1,
		"PKCS #8":   pkcs8,
		"key first": append(bytes.Clone(pkcs1[i:]), pkcs1[:i]...),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			spki := c.SPKI()
			if c.TubID() != goldenTubID || base64.RawURLEncoding.EncodeToString(spki[:]) != goldenSPKI {
				t.Errorf("TubID %s, SPKI %x", c.TubID(), spki)
			}
			if raw, _ := base32.StdEncoding.DecodeString(strings.ToUpper(goldenTubID)); [20]byte(raw) != c.TubIDBytes() {
				t.Errorf("TubIDBytes %x", c.TubIDBytes())
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	golden := readFile(t, "testdata/pkcs8.pem")
	i := bytes.Index(golden, []byte("-----BEGIN PRIVATE"))
	cert, key := golden[:i], golden[i:]
	other, err := generated()
	if err != nil {
		t.Fatal(err)
	}
	otherKey := other[bytes.Index(other, []byte("-----BEGIN PRIVATE")):]
	for name, data := range map[string][]byte{
		"empty":         nil,
		"no key":        cert,
		"no cert":       key,
		"other key":     append(bytes.Clone(cert), otherKey...),
		"cut":           golden[:len(golden)-100],
		"flipped":       bytes.Replace(golden, []byte("MIIC"), []byte("MIIX"), 1),
		"too long":      append(bytes.Repeat([]byte("\n"), maxFile), golden...),
		"noise":         bytes.Repeat([]byte{0xff}, 1000),
		"trailing junk": append(bytes.Clone(cert), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")...),
	} {
		c, err := Parse(data)
		if !errors.Is(err, ErrBadFile) || !c.IsZero() {
			t.Errorf("%s: %v, %v", name, c, err)
		}
		if err != nil && strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: the error shows the file: %v", name, err)
		}
	}
}

func TestGenerate(t *testing.T) {
	data, err := generated()
	if err != nil {
		t.Fatal(err)
	}
	// As Foolscap writes it: certificate, then key, nothing else.
	block, rest := pem.Decode(data)
	keyBlock, rest := pem.Decode(rest)
	if block.Type != "CERTIFICATE" || keyBlock.Type != "PRIVATE KEY" || len(rest) != 0 {
		t.Fatalf("blocks %s, %s, %d bytes more", block.Type, keyBlock.Type, len(rest))
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if x.Subject.String() != "CN=newpb_thingy" || x.Issuer.String() != "CN=newpb_thingy" || x.SerialNumber.String() != "1" ||
		x.SignatureAlgorithm != x509.SHA256WithRSA || len(x.Extensions) != 0 || x.PublicKey.(*rsa.PublicKey).N.BitLen() != 2048 {
		t.Errorf("subject %s, issuer %s, serial %s, %s, %d extensions", x.Subject, x.Issuer, x.SerialNumber, x.SignatureAlgorithm, len(x.Extensions))
	}
	if !x.NotBefore.Equal(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)) || x.NotAfter.Sub(x.NotBefore) != 365*24*time.Hour {
		t.Errorf("valid %s to %s", x.NotBefore, x.NotAfter)
	}
	if err := x.CheckSignature(x.SignatureAlgorithm, x.RawTBSCertificate, x.Signature); err != nil {
		t.Errorf("self-signature: %v", err)
	}
	c, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(x.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if c.TubIDBytes() != sha1.Sum(block.Bytes) || c.SPKI() != sha256.Sum256(pub) || SPKI(x) != c.SPKI() || len(c.TubID()) != 32 {
		t.Errorf("TubID %s, SPKI %x", c.TubID(), c.SPKI())
	}
}

func TestLoadOrCreate(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	if _, err := Load(root, FileName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of nothing: %v", err)
	}
	// Two at once get one identity.
	var certs [2]Cert
	var wg sync.WaitGroup
	for i := range certs {
		wg.Go(func() {
			var err error
			if certs[i], err = LoadOrCreate(root, FileName, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if certs[0].IsZero() || certs[0].TubID() != certs[1].TubID() {
		t.Errorf("two identities: %v, %v", certs[0], certs[1])
	}
	again, err := LoadOrCreate(root, FileName, time.Now())
	if err != nil || again.TubID() != certs[0].TubID() {
		t.Errorf("again: %v, %v", again, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("files: %v, %v", entries, err)
	}
	if st, err := entries[0].Info(); runtime.GOOS != "windows" && (err != nil || st.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}

	// A damaged file is an error; it is never replaced.
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(root, FileName, time.Now()); !errors.Is(err, ErrBadFile) {
		t.Errorf("damaged: %v", err)
	}
	if got := readFile(t, filepath.Join(dir, FileName)); string(got) != "damaged" {
		t.Errorf("the damaged file became %.30q", got)
	}
}

// The certificate serves TLS, and the client can pin it.
func TestHandshake(t *testing.T) {
	data, err := generated()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	foolscap, err := Parse(readFile(t, "testdata/pkcs1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Cert{ours, foolscap} {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{c.TLS()}, MinVersion: tls.VersionTLS13})
		var pinned bool
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, VerifyConnection: func(s tls.ConnectionState) error {
			pinned = SPKI(s.PeerCertificates[0]) == c.SPKI()
			return nil
		}})
		done := make(chan error, 1)
		go func() { done <- server.HandshakeContext(t.Context()) }()
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The server's last message (session tickets) waits for a reader.
		go client.Read(make([]byte, 1))
		if err := <-done; err != nil || !pinned {
			t.Errorf("%v: server %v, pin fits: %v", c, err, pinned)
		}
	}
}

func TestNeverPrints(t *testing.T) {
	data := readFile(t, "testdata/pkcs1.pem")
	c, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	key := c.TLS().PrivateKey.(*rsa.PrivateKey)
	secrets := []string{key.D.String(), string(key.D.Bytes()), key.Primes[0].String(), key.Primes[1].String()}
	redacttest.Check(t, c, secrets...)
	if c.String() != "cert:z4icleyp" || (Cert{}).String() != "cert:none" {
		t.Errorf("String = %s, %s", c, Cert{})
	}
	if got := (Cert{}).TLS(); got.Certificate != nil {
		t.Error("the zero Cert has a certificate")
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/pkcs1.pem", "testdata/pkcs8.pem"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if (err == nil) == c.IsZero() {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil && (len(c.TubID()) != 32 || len(c.TLS().Certificate) == 0) {
			t.Fatalf("half a certificate: %v", c)
		}
	})
}
