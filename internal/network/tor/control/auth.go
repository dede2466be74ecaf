package control

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"tahoe-go/internal/kit/redact"
)

// Credentials are what the operator has given. The zero value is enough for a
// tor that wants nothing or a cookie this process may read.
type Credentials struct {
	Password   redact.Secret
	CookieFile string // in place of the path that tor names
}

// Info is tor's answer to PROTOCOLINFO.
type Info struct {
	Methods    []string // NULL, COOKIE, SAFECOOKIE, HASHEDPASSWORD
	CookieFile string
	Version    string
}

// AuthError says that this is Tor's control port but that we may not use it.
// Its text holds the cure.
type AuthError struct {
	Methods    []string // what tor would accept
	CookieFile string
	Err        error
}

func (e *AuthError) Unwrap() error { return e.Err }

func (e *AuthError) Error() string {
	_, refused := errors.AsType[*Error](e.Err)
	cookie := slices.Contains(e.Methods, "SAFECOOKIE") || slices.Contains(e.Methods, "COOKIE")
	switch {
	case errors.Is(e.Err, fs.ErrPermission):
		return fmt.Sprintf("Tor is running but you may not control it: its cookie %s is not readable for you. On Debian: sudo adduser $USER debian-tor, then log in again. (Only servers need this; clients need just SOCKS.)", e.CookieFile)
	case errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Sprintf("Tor's control port wants the cookie %s, and there is no such file on this machine: set a password (HashedControlPassword in torrc)", e.CookieFile)
	case refused && cookie && e.CookieFile != "":
		return fmt.Sprintf("Tor's control port does not accept the cookie %s: is it the file of another tor? (%v)", e.CookieFile, e.Err)
	case refused:
		return fmt.Sprintf("Tor's control port does not accept our password: compare it with HashedControlPassword in torrc (%v)", e.Err)
	case e.Err != nil:
		return fmt.Sprintf("authenticating to Tor's control port: %v", e.Err)
	}
	return fmt.Sprintf("Tor's control port needs a password that we do not have (it accepts: %s)", strings.Join(e.Methods, ", "))
}

const (
	cookieLen = 32
	nonceLen  = 32

	serverHashKey = "Tor safe cookie authentication server-to-controller hash"
	clientHashKey = "Tor safe cookie authentication controller-to-server hash"
)

// ProtocolInfo asks what the other end is and how to authenticate. It is the
// way to tell a tor from something else: ErrNotTor, or no answer before ctx
// ends, mean something else.
func (c *Conn) ProtocolInfo(ctx context.Context) (Info, error) {
	r, err := c.Do(ctx, "PROTOCOLINFO 1")
	if err != nil {
		return Info{}, err
	}
	var info Info
	for _, l := range r.Lines {
		kind, rest, _ := strings.Cut(l.Text, " ")
		_, keys := splitWords(rest)
		switch kind {
		case "AUTH":
			info.Methods = strings.Split(keys["METHODS"], ",")
			info.CookieFile = keys["COOKIEFILE"]
		case "VERSION":
			info.Version = printable(keys["Tor"])
		}
	}
	if info.Version == "" {
		return Info{}, fmt.Errorf("%w: its PROTOCOLINFO names no version", ErrNotTor)
	}
	return info, nil
}

// Authenticate finds out what tor wants and gives it: the password if there is
// one, nothing if nothing is wanted, else the cookie (SAFECOOKIE, by which tor
// proves that it knows the cookie too, before COOKIE). Failure is an *AuthError
// where the control port is Tor's; tor closes the connection after a wrong
// answer.
func (c *Conn) Authenticate(ctx context.Context, cr Credentials) (Info, error) {
	info, err := c.ProtocolInfo(ctx)
	if err != nil {
		return info, err
	}
	if cr.CookieFile != "" {
		info.CookieFile = cr.CookieFile
	}
	failed := func(err error) error {
		return &AuthError{Methods: info.Methods, CookieFile: info.CookieFile, Err: err}
	}
	has := func(method string) bool { return slices.Contains(info.Methods, method) }
	switch {
	case has("HASHEDPASSWORD") && !cr.Password.IsZero():
		info.CookieFile = ""
		_, err = c.Do(ctx, "AUTHENTICATE "+hex.EncodeToString([]byte(cr.Password.Reveal())))
	case has("NULL"):
		_, err = c.Do(ctx, "AUTHENTICATE")
	case has("SAFECOOKIE"):
		err = c.authSafeCookie(ctx, info.CookieFile)
	case has("COOKIE"):
		err = c.authCookie(ctx, info.CookieFile)
	default:
		return info, failed(nil)
	}
	if err != nil {
		return info, failed(err)
	}
	return info, nil
}

func (c *Conn) authCookie(ctx context.Context, file string) error {
	cookie, err := readCookie(file)
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, "AUTHENTICATE "+hex.EncodeToString(cookie))
	return err
}

// authSafeCookie is control-spec, AUTHCHALLENGE: each side shows that it knows
// the cookie, and the cookie does not cross the wire.
func (c *Conn) authSafeCookie(ctx context.Context, file string) error {
	cookie, err := readCookie(file)
	if err != nil {
		return err
	}
	nonce := make([]byte, nonceLen)
	rand.Read(nonce)
	r, err := c.Do(ctx, "AUTHCHALLENGE SAFECOOKIE "+hex.EncodeToString(nonce))
	if err != nil {
		return err
	}
	_, keys := splitWords(r.Lines[0].Text)
	serverHash, err1 := hex.DecodeString(keys["SERVERHASH"])
	serverNonce, err2 := hex.DecodeString(keys["SERVERNONCE"])
	if err1 != nil || err2 != nil || len(serverNonce) != nonceLen {
		return errors.New("tor's AUTHCHALLENGE reply is malformed")
	}
	hash := func(key string) []byte {
		h := hmac.New(sha256.New, []byte(key))
		h.Write(cookie)
		h.Write(nonce)
		h.Write(serverNonce)
		return h.Sum(nil)
	}
	if !hmac.Equal(serverHash, hash(serverHashKey)) {
		return fmt.Errorf("the process at the control port does not know the cookie %s: it is not the tor that made it", file)
	}
	_, err = c.Do(ctx, "AUTHENTICATE "+hex.EncodeToString(hash(clientHashKey)))
	return err
}

// readCookie reads a cookie file. The path may come from a stranger at the
// control port, hence the checks before opening.
func readCookie(file string) ([]byte, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() != cookieLen {
		return nil, fmt.Errorf("%s is not a cookie of %d bytes", file, cookieLen)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cookie := make([]byte, cookieLen)
	if _, err := io.ReadFull(f, cookie); err != nil {
		return nil, fmt.Errorf("reading the cookie %s: %w", file, err)
	}
	return cookie, nil
}
