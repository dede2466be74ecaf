package gbs

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tahoe-go/internal/kit/redact"
)

const (
	authHeader    = "Authorization"
	authScheme    = "Tahoe-LAFS "
	secretsHeader = "X-Tahoe-Authorization"
	cborType      = "application/cbor"
	bytesType     = "application/octet-stream"
)

// authorization is the header that opens a service.
func authorization(swissnum redact.Secret) string {
	return authScheme + base64.StdEncoding.EncodeToString([]byte(swissnum.Reveal()))
}

// checkAuthorization compares in constant time, over hashes so that the length
// does not show either.
func checkAuthorization(h http.Header, want [sha256.Size]byte) error {
	got := h.Get(authHeader)
	if !utf8.ValidString(got) {
		return errNotText
	}
	sum := sha256.Sum256([]byte(got))
	if subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
		return errAuthorization
	}
	return nil
}

// kind names a secret in an X-Tahoe-Authorization header.
type kind string

const (
	renewSecret  kind = "lease-renew-secret"
	cancelSecret kind = "lease-cancel-secret"
	uploadSecret kind = "upload-secret"
	writeEnabler kind = "write-enabler"
)

// maxUploadSecret bounds what a client may choose; ours have 20 bytes.
const maxUploadSecret = 1024

// secrets are the decoded values of one request.
type secrets map[kind]redact.Secret

// parseSecrets reads the headers strictly: exactly the needed kinds, once
// each, in canonical base64, 32 bytes where the protocol says so.
func parseSecrets(h http.Header, need ...kind) (secrets, error) {
	values := h.Values(secretsHeader)
	if len(values) != len(need) {
		return nil, errSecrets
	}
	out := make(secrets, len(need))
	for _, v := range values {
		name, b64, _ := strings.Cut(strings.TrimSpace(v), " ")
		k := kind(name)
		if _, double := out[k]; double || !slices.Contains(need, k) {
			return nil, errSecrets
		}
		if strings.ContainsAny(b64, "\r\n") { // the decoder would skip these
			return nil, errSecrets
		}
		b, err := base64.StdEncoding.Strict().DecodeString(b64)
		if err != nil || !validLength(k, len(b)) {
			return nil, errSecrets
		}
		out[k] = redact.New(string(b))
	}
	return out, nil
}

func validLength(k kind, n int) bool {
	if k == uploadSecret {
		return n >= 1 && n <= maxUploadSecret
	}
	return n == 32
}

func addSecret(h http.Header, k kind, s redact.Secret) {
	h.Add(secretsHeader, string(k)+" "+base64.StdEncoding.EncodeToString([]byte(s.Reveal())))
}

// checkContentType lets CBOR pass, and a missing header.
func checkContentType(h http.Header) error {
	v := h.Get("Content-Type")
	if v == "" {
		return nil
	}
	if t, _, err := mime.ParseMediaType(v); err != nil || t != cborType {
		return errMediaType
	}
	return nil
}

// checkAccept lets a client pass that can take CBOR, or did not say.
func checkAccept(h http.Header) error {
	values := h.Values("Accept")
	if len(values) == 0 {
		return nil
	}
	for _, part := range strings.Split(strings.Join(values, ","), ",") {
		t, params, err := mime.ParseMediaType(part)
		if err != nil || (t != cborType && t != "application/*" && t != "*/*") {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err != nil || q > 0 {
			return nil
		}
	}
	return errNotAcceptable
}
