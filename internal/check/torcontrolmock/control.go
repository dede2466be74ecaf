package torcontrolmock

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/onion"
)

// session is one control connection. A writer of its own sends what queue
// holds, so that an event never waits for a client that is busy sending.
type session struct {
	tor   *Tor
	conn  net.Conn
	queue chan string
	done  chan struct{}

	authed   bool
	nonces   []byte // client's and server's, after AUTHCHALLENGE
	owned    []string
	takeover bool

	mu     sync.Mutex // guards below
	events map[string]bool
}

func (t *Tor) serveControl(c net.Conn) {
	s := &session{tor: t, conn: c, queue: make(chan string, 4096), done: make(chan struct{}), events: map[string]bool{}}
	t.mu.Lock()
	t.sessions[s] = true
	t.mu.Unlock()
	written := make(chan struct{})
	t.wg.Go(func() {
		defer close(written)
		s.write()
	})
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		t.mu.Lock()
		hung := t.hung
		t.commands = append(t.commands, lines.Text())
		t.mu.Unlock()
		if hung {
			continue
		}
		if !s.handle(lines.Text()) {
			break
		}
	}
	t.mu.Lock()
	delete(t.sessions, s)
	t.mu.Unlock()
	close(s.done)
	<-written // the last reply has gone out
	for _, id := range s.owned {
		t.drop(id)
	}
	if s.takeover {
		go t.Stop()
	}
}

// write sends the queue; after the session's end only what is in it already.
func (s *session) write() {
	defer s.conn.Close()
	for {
		select {
		case text := <-s.queue:
			if _, err := s.conn.Write([]byte(text)); err != nil {
				return
			}
			continue
		default:
		}
		select {
		case text := <-s.queue:
			if _, err := s.conn.Write([]byte(text)); err != nil {
				return
			}
		case <-s.done:
			return
		}
	}
}

func (s *session) say(lines ...string) bool {
	for _, l := range lines {
		s.queue <- l + "\r\n"
	}
	return true
}

func (s *session) emit(kind, text string) {
	s.mu.Lock()
	wanted := s.events[kind]
	s.mu.Unlock()
	if wanted {
		s.say("650 " + kind + " " + text)
	}
}

// handle answers one command and reports whether the connection goes on.
func (s *session) handle(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	if reply := s.refusal(line); reply != "" {
		return s.say(reply)
	}
	switch verb {
	case "PROTOCOLINFO":
		return s.protocolInfo()
	case "AUTHCHALLENGE":
		return s.challenge(rest)
	case "AUTHENTICATE":
		return s.authenticate(rest)
	}
	if !s.authed {
		s.say("514 Authentication required.")
		return false
	}
	switch verb {
	case "GETINFO":
		return s.getInfo(strings.Fields(rest))
	case "SETEVENTS":
		return s.setEvents(strings.Fields(rest))
	case "ADD_ONION":
		return s.addOnion(strings.Fields(rest))
	case "DEL_ONION":
		return s.delOnion(rest)
	case "TAKEOWNERSHIP":
		s.takeover = true
		return s.say("250 OK")
	case "GETCONF":
		return s.getConf(rest)
	case "SETCONF":
		return s.setConf(rest)
	case "SIGNAL":
		s.say("250 OK")
		if rest == "RELOAD" {
			s.tor.Reload()
		}
		return true
	case "RESETCONF", "ONION_CLIENT_AUTH_ADD":
		return s.say("250 OK")
	case "QUIT":
		s.say("250 closing connection")
		return false
	}
	return s.say(fmt.Sprintf("510 Unrecognized command \"%s\"", verb))
}

func (s *session) refusal(line string) string {
	for _, word := range strings.Fields(line) {
		name, _, _ := strings.Cut(word, "=")
		for _, w := range []string{word, name} {
			if reply := s.tor.cfg.Refuse[w]; reply != "" {
				return reply
			}
		}
	}
	return ""
}

func (s *session) protocolInfo() bool {
	auth := "250-AUTH METHODS=" + strings.Join(s.tor.cfg.Methods, ",")
	if s.tor.cfg.CookieFile != "" {
		auth += fmt.Sprintf(" COOKIEFILE=%q", s.tor.cfg.CookieFile)
	}
	return s.say("250-PROTOCOLINFO 1", auth, `250-VERSION Tor="0.4.9.11"`, "250 OK")
}

func (s *session) challenge(rest string) bool {
	hexNonce, ok := strings.CutPrefix(rest, "SAFECOOKIE ")
	nonce, err := hex.DecodeString(hexNonce)
	if !ok || err != nil {
		s.say("513 Wrong number of arguments for AUTHCHALLENGE")
		return false
	}
	own := make([]byte, 32)
	rand.Read(own)
	s.nonces = append(nonce, own...)
	return s.say(fmt.Sprintf("250 AUTHCHALLENGE SERVERHASH=%X SERVERNONCE=%X",
		s.hash("Tor safe cookie authentication server-to-controller hash"), own))
}

func (s *session) hash(key string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write(s.tor.cookie)
	h.Write(s.nonces)
	return h.Sum(nil)
}

func (s *session) authenticate(rest string) bool {
	given, _ := hex.DecodeString(rest)
	for _, method := range s.tor.cfg.Methods {
		switch method {
		case "NULL":
			s.authed = true
		case "COOKIE":
			s.authed = s.authed || bytes.Equal(given, s.tor.cookie)
		case "SAFECOOKIE":
			s.authed = s.authed || s.nonces != nil &&
				bytes.Equal(given, s.hash("Tor safe cookie authentication controller-to-server hash"))
		case "HASHEDPASSWORD":
			s.authed = s.authed || s.tor.cfg.Password != "" && string(given) == s.tor.cfg.Password
		}
	}
	if !s.authed {
		s.say("515 Authentication failed: Wrong length on authentication cookie.")
		return false
	}
	return s.say("250 OK")
}

func (s *session) getInfo(keys []string) bool {
	s.tor.mu.Lock()
	phase, progress := s.tor.phase, s.tor.progress
	s.tor.mu.Unlock()
	var socks []string
	for _, a := range s.tor.cfg.SOCKS {
		if a.Kind == netx.Unix {
			socks = append(socks, fmt.Sprintf("%q", "unix:"+a.Host))
		} else {
			socks = append(socks, fmt.Sprintf(`"%s:%d"`, a.Host, a.Port))
		}
	}
	circuit, live := "0", "down"
	if progress == 100 {
		circuit, live = "1", "up"
	}
	known := map[string]string{
		"version":                    "0.4.9.11",
		"status/bootstrap-phase":     phase,
		"status/circuit-established": circuit,
		"network-liveness":           live,
		"net/listeners/socks":        strings.Join(socks, " "),
		"process/uid":                strconv.Itoa(s.tor.cfg.UID),
		"process/pid":                "1",
	}
	var out []string
	for _, k := range keys {
		if k == "circuit-status" {
			out = append(out, "250+circuit-status=", s.tor.circuits()+".")
			continue
		}
		v, ok := known[k]
		if !ok {
			return s.say(fmt.Sprintf("552 Unrecognized key \"%s\"", k))
		}
		out = append(out, "250-"+k+"="+v)
	}
	return s.say(append(out, "250 OK")...)
}

func (s *session) setEvents(kinds []string) bool {
	events := map[string]bool{}
	for _, k := range kinds {
		switch k {
		case "HS_DESC", "STATUS_CLIENT", "STATUS_GENERAL", "NETWORK_LIVENESS", "WARN", "ERR", "STREAM", "CIRC", "SIGNAL", "CONF_CHANGED":
			events[k] = true
		default:
			return s.say(fmt.Sprintf("552 Unrecognized event \"%s\"", k))
		}
	}
	s.mu.Lock()
	s.events = events
	s.mu.Unlock()
	return s.say("250 OK")
}

func (s *session) addOnion(words []string) bool {
	svc := Service{Key: words[0], Words: words[1:]}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "Flags", "MaxStreams", "PoWDefensesEnabled", "ClientAuthV3", "MaxStreamsCloseCircuit":
		case "Port":
			port, target, _ := strings.Cut(value, ",")
			svc.Port, _ = strconv.Atoi(port)
			svc.Target = target
		default:
			return s.say("512 Bad arguments to ADD_ONION: Unrecognized keyword argument \"" + name + "\"")
		}
	}
	if strings.HasPrefix(svc.Key, "RSA1024:") {
		return s.say("513 Invalid key type")
	}
	key, err := onion.ParseKey([]byte(svc.Key))
	if err != nil {
		return s.say("512 Failed to decode ED25519-V3 key")
	}
	svc.ID = key.Address().ServiceID()
	if !s.tor.publish(svc) {
		return s.say("550 Onion address collision")
	}
	s.owned = append(s.owned, svc.ID)
	s.say("250-ServiceID="+svc.ID, "250 OK")
	s.tor.wg.Go(func() { s.upload(svc.ID) })
	return true
}

// upload reports what tor reports while it publishes a descriptor.
func (s *session) upload(id string) {
	for i := range s.tor.cfg.HSDirs {
		s.emit("HS_DESC", fmt.Sprintf("UPLOAD %s UNKNOWN $%040X~relay%d desc%d HSDIR_INDEX=%064X", id, i+1, i, i, i))
	}
	select {
	case <-time.After(s.tor.cfg.UploadTime):
	case <-s.tor.ctx.Done():
		return
	case <-s.done:
		return
	}
	for i := range s.tor.cfg.HSDirs {
		if i < s.tor.cfg.FailUploads {
			s.emit("HS_DESC", fmt.Sprintf("FAILED %s UNKNOWN $%040X~relay%d REASON=UPLOAD_REJECTED", id, i+1, i))
			continue
		}
		s.tor.uploaded(id)
		s.emit("HS_DESC", fmt.Sprintf("UPLOADED %s UNKNOWN $%040X~relay%d", id, i+1, i))
	}
}

func (s *session) delOnion(id string) bool {
	for i, o := range s.owned {
		if o == id {
			s.owned = append(s.owned[:i:i], s.owned[i+1:]...)
			s.tor.drop(id)
			return s.say("250 OK")
		}
	}
	return s.say("552 Unknown Onion Service id")
}

// publish reports false for a collision.
func (t *Tor) publish(svc Service) bool {
	t.mu.Lock()
	collides := t.collide > 0
	if collides {
		t.collide--
	}
	t.mu.Unlock()
	n := t.cfg.Net
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.services[svc.ID]; collides || p != nil && p.tor == t {
		return false
	}
	n.services[svc.ID] = &published{Service: svc, tor: t}
	return true
}

func (t *Tor) uploaded(id string) {
	t.cfg.Net.mu.Lock()
	defer t.cfg.Net.mu.Unlock()
	if p := t.cfg.Net.services[id]; p != nil && p.tor == t {
		p.Uploaded = true
	}
}

func (t *Tor) drop(id string) {
	t.cfg.Net.mu.Lock()
	defer t.cfg.Net.mu.Unlock()
	if p := t.cfg.Net.services[id]; p != nil && p.tor == t {
		delete(t.cfg.Net.services, id)
	}
}
