package control

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/tor/onion"
)

// GetInfo returns the values of keys. Tor refuses the whole command if it does
// not know one of them.
func (c *Conn) GetInfo(ctx context.Context, keys ...string) (map[string]string, error) {
	r, err := c.Do(ctx, "GETINFO "+strings.Join(keys, " "))
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(keys))
	for _, l := range r.Lines {
		if key, value, ok := strings.Cut(l.Text, "="); ok {
			if l.Data != "" {
				value = l.Data
			}
			values[key] = value
		}
	}
	return values, nil
}

// Quoted reads the list of quoted strings that some values of GETINFO are.
func Quoted(value string) []string {
	words, _ := splitWords(value)
	return words
}

// Keys reads the KEY=VALUE words that some values of GETINFO hold.
func Keys(value string) map[string]string {
	_, keys := splitWords(value)
	return keys
}

// Setting is one line of tor's configuration.
type Setting struct {
	Key, Value string // Value without the quotes that tor may put around it
	Default    bool   // GetConf: not set, tor uses its default; Value is empty
}

// GetConf returns the settings of one key in tor's order; several lines of the
// same key are several settings, and some keys return related ones.
func (c *Conn) GetConf(ctx context.Context, key string) ([]Setting, error) {
	r, err := c.Do(ctx, "GETCONF "+key)
	if err != nil {
		return nil, err
	}
	var settings []Setting
	for _, l := range r.Lines {
		k, v, set := strings.Cut(l.Text, "=")
		if strings.HasPrefix(v, `"`) { // quotes further on are part of the value
			v, _ = unquote(v)
		}
		settings = append(settings, Setting{Key: k, Value: v, Default: !set})
	}
	return settings, nil
}

// SetConf sets all settings at once, or none. It replaces every former line of
// the keys it names.
func (c *Conn) SetConf(ctx context.Context, settings ...Setting) error {
	var b strings.Builder
	b.WriteString("SETCONF")
	for _, s := range settings {
		b.WriteString(" " + s.Key + "=" + Quote(s.Value))
	}
	_, err := c.Do(ctx, b.String())
	return err
}

// ResetConf sets keys back to their defaults.
func (c *Conn) ResetConf(ctx context.Context, keys ...string) error {
	_, err := c.Do(ctx, "RESETCONF "+strings.Join(keys, " "))
	return err
}

// SetEvents chooses what tor reports; it replaces the former choice.
func (c *Conn) SetEvents(ctx context.Context, names ...string) error {
	_, err := c.Do(ctx, strings.TrimSpace("SETEVENTS "+strings.Join(names, " ")))
	return err
}

// TakeOwnership makes tor exit when this connection ends.
func (c *Conn) TakeOwnership(ctx context.Context) error {
	_, err := c.Do(ctx, "TAKEOWNERSHIP")
	return err
}

// Signal sends tor a signal by its control-port name: RELOAD, NEWNYM, SHUTDOWN.
func (c *Conn) Signal(ctx context.Context, name string) error {
	_, err := c.Do(ctx, "SIGNAL "+name)
	return err
}

// Service is an onion service to add. It lives as long as the connection.
type Service struct {
	Key    onion.Key
	Port   int    // the port at the onion address
	Target string // where tor delivers: "unix:/path" or a loopback address and port
	// ClientAuth holds the base32 x25519 public keys of the clients that may
	// connect; empty: anyone who knows the address.
	ClientAuth []string
	// Extra are further words such as "MaxStreams=64", which a tor or a filter
	// before it may not know.
	Extra []string
}

// AddOnion publishes s. A nil error means that tor has taken it on, not that it
// can be reached: the event HS_DESC UPLOADED says that, so SetEvents first.
func (c *Conn) AddOnion(ctx context.Context, s Service) error {
	if err := checkTarget(s.Target); err != nil {
		return err
	}
	// DiscardPK: there is no need for the key to come back.
	flags := "DiscardPK"
	if len(s.ClientAuth) > 0 {
		flags += ",V3Auth"
	}
	words := []string{"ADD_ONION", s.Key.Reveal(), "Flags=" + flags}
	words = append(words, s.Extra...)
	words = append(words, fmt.Sprintf("Port=%d,%s", s.Port, s.Target))
	for _, key := range s.ClientAuth {
		words = append(words, "ClientAuthV3="+key)
	}
	r, err := c.Do(ctx, strings.Join(words, " "))
	if err != nil {
		return err
	}
	for _, l := range r.Lines {
		if id, ok := strings.CutPrefix(l.Text, "ServiceID="); ok && id != s.Key.Address().ServiceID() {
			return fmt.Errorf("tor published the onion service under another address (%s) than its key has", printable(id))
		}
	}
	return nil
}

// checkTarget refuses what would lead tor, and so everyone who connects, to
// another machine: ADD_ONION takes any address. Spaces and quotes have no
// spelling in this command.
func checkTarget(target string) error {
	if strings.ContainsAny(target, " \t\r\n\"\\,") {
		return fmt.Errorf("onion target %q: ADD_ONION cannot name a path with spaces, commas, quotes or backslashes", target)
	}
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("onion target %q: the path must be absolute", target)
		}
		return nil
	}
	ap, err := netip.ParseAddrPort(target)
	if err != nil || !ap.Addr().Unmap().IsLoopback() || ap.Port() == 0 {
		return fmt.Errorf("onion target %q is neither a unix socket nor a loopback address with port", target)
	}
	return nil
}

// DelOnion removes a service that was added through this connection.
func (c *Conn) DelOnion(ctx context.Context, addr onion.Address) error {
	_, err := c.Do(ctx, "DEL_ONION "+addr.ServiceID())
	return err
}

// OnionClientAuthAdd gives tor the x25519 private key (32 bytes) with which to
// reach a service that demands one. Without permanent tor forgets it when it
// exits; permanent needs ClientOnionAuthDir in its configuration.
func (c *Conn) OnionClientAuthAdd(ctx context.Context, addr onion.Address, key redact.Secret, permanent bool) error {
	raw := key.Reveal()
	if len(raw) != 32 {
		return errors.New("a client key for an onion service has 32 bytes")
	}
	command := "ONION_CLIENT_AUTH_ADD " + addr.ServiceID() + " x25519:" + base64.StdEncoding.EncodeToString([]byte(raw))
	if permanent {
		command += " Flags=Permanent"
	}
	_, err := c.Do(ctx, command)
	return err
}
