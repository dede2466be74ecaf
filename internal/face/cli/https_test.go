package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tahoe-go/internal/network/netx"
)

// keyPair is a self-signed certificate and its key, as PEM.
func keyPair(t *testing.T) (cert, key []byte) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// Neither its name nor its date is of interest to anybody.
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}, &x509.Certificate{}, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// secure serves the gateway by https too, and writes what the node would have.
func (w *world) secure(cert, key []byte) {
	w.t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := netx.Loopback{}.Listen(w.t.Context(), netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		w.t.Fatal(err)
	}
	at, err := netx.AddrOf(l)
	if err != nil {
		w.t.Fatal(err)
	}
	srv := &http.Server{Handler: w.gw, ErrorLog: log.New(io.Discard, "", 0)}
	go srv.Serve(tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}))
	w.t.Cleanup(func() { srv.Shutdown(context.Background()) })
	os.WriteFile(filepath.Join(w.node, "node.url"), fmt.Appendf(nil, "https://127.0.0.1:%d/\n", at.Port), 0o644)
	os.WriteFile(filepath.Join(w.node, "tahoe.cfg"), fmt.Appendf(nil, "[node]\nweb.port = ssl:%d:privateKey=private/server.pem\n", at.Port), 0o600)
}

// A gateway with web.port = ssl:… is known by its certificate, and by nothing
// else.
func TestGatewayByHTTPS(t *testing.T) {
	w := newWorld(t)
	w.write("f", "some text")
	cert, key := keyPair(t)
	w.secure(cert, key)
	file := filepath.Join(w.node, "private", "server.pem")
	if err := os.WriteFile(file, bytes.Join([][]byte{key, cert}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(0, "put", "f")
	w.says(w.out, "URI:LIT:")

	other, _ := keyPair(t)
	if err := os.WriteFile(file, other, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(1, "put", "f")
	w.says(w.err, "another certificate")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(1, "put", "f")
	w.says(w.err, "there is no certificate in ")
	if err := os.WriteFile(filepath.Join(w.node, "tahoe.cfg"), []byte("[node]\nweb.port = tcp:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(1, "put", "f")
	w.says(w.err, "names no certificate")
}
