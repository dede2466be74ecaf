package torcontrolmock

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tahoe-go/internal/network/tor/onion"
)

// Disk holds the folders of hidden services, which outlive a tor.
type Disk struct {
	// Parents are the folders in which the tor can make others; asked to make
	// one elsewhere it exits.
	Parents []string
	// Bad are folders that exist and are not as tor wants them.
	Bad []string

	mu    sync.Mutex // guards below
	dirs  map[string]bool
	drawn int // how often a key was made
}

// Lose deletes a folder: the next service in it has another address.
func (d *Disk) Lose(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.dirs, dir)
	d.drawn++
}

// ID returns the address, without .onion, of the service in a folder.
func (d *Disk) ID(dir string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return onion.FromSeed(sha256.Sum256([]byte(fmt.Sprint(d.drawn, path.Clean(dir))))).Address().ServiceID()
}

// make makes a folder unless it exists, and reports whether it is there. Those
// in torrc always are: the operator has seen to it.
func (d *Disk) make(dir string, torrc []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dirs == nil {
		d.dirs = map[string]bool{}
	}
	d.dirs[dir] = d.dirs[dir] || slices.Contains(dirsOf(torrc), dir) || slices.Contains(d.Parents, path.Dir(path.Clean(dir)))
	return d.dirs[dir]
}

// Hidden returns tor's settings of hidden services now, as KEY=VALUE.
func (t *Tor) Hidden() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.hidden)
}

// Reload reads the configuration file again: what was set by SETCONF is gone.
func (t *Tor) Reload() {
	t.setHidden(t.cfg.Torrc)
	t.Emit("SIGNAL", "RELOAD")
}

// setHidden makes lines the settings of hidden services: others end, new ones
// begin. It reports false if the tor cannot, and exits.
func (t *Tor) setHidden(lines []string) bool {
	t.mu.Lock()
	before := t.hidden
	t.hidden = slices.Clone(lines)
	t.mu.Unlock()
	for _, dir := range dirsOf(before) {
		if !slices.Contains(dirsOf(lines), dir) {
			t.drop(t.cfg.Disk.ID(dir))
		}
	}
	for _, dir := range dirsOf(lines) {
		if !t.cfg.Disk.make(dir, t.cfg.Torrc) {
			go t.Stop()
			return false
		}
		if slices.Contains(dirsOf(before), dir) {
			continue
		}
		id := t.cfg.Disk.ID(dir)
		t.publish(Service{ID: id, Ports: portsOf(lines, dir)})
		t.wg.Go(func() { t.uploadHidden(id) })
	}
	t.emitLines("CONF_CHANGED", lines)
	return true
}

func (t *Tor) uploadHidden(id string) {
	for i := range t.cfg.HSDirs {
		t.Emit("HS_DESC", fmt.Sprintf("UPLOAD %s UNKNOWN $%040X~relay%d desc%d", id, i+1, i, i))
	}
	select {
	case <-time.After(t.cfg.UploadTime):
	case <-t.ctx.Done():
		return
	}
	t.uploaded(id)
	for i := range t.cfg.HSDirs {
		t.Emit("HS_DESC", fmt.Sprintf("UPLOADED %s UNKNOWN $%040X~relay%d", id, i+1, i))
	}
}

func dirsOf(lines []string) []string {
	var dirs []string
	for _, l := range lines {
		if dir, ok := strings.CutPrefix(l, "HiddenServiceDir="); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// portsOf returns the targets of the service in dir by port.
func portsOf(lines []string, dir string) map[int]string {
	ports := map[int]string{}
	at := ""
	for _, l := range lines {
		key, value, _ := strings.Cut(l, "=")
		virtual, target, _ := strings.Cut(value, " ")
		n, _ := strconv.Atoi(virtual)
		switch {
		case key == "HiddenServiceDir":
			at = value
		case key == "HiddenServicePort" && at == dir:
			if target == "" {
				target = virtual
			}
			if !strings.Contains(target, ":") {
				target = "127.0.0.1:" + target
			}
			ports[n] = target
		}
	}
	return ports
}

// getConf answers for one key. Values with a # stand in quotes, as tor writes
// them.
func (s *session) getConf(key string) bool {
	lines := []string{key}
	if key == "HiddenServiceOptions" {
		if hidden := s.tor.Hidden(); len(hidden) > 0 {
			lines = hidden
		}
	} else if v, ok := s.tor.cfg.Conf[key]; ok {
		lines = []string{key + "=" + v}
	}
	for i, l := range lines {
		if k, v, _ := strings.Cut(l, "="); strings.ContainsRune(v, '#') {
			l = k + `="` + strings.ReplaceAll(strings.ReplaceAll(v, `\`, `\\`), `"`, `\"`) + `"`
		}
		sign := "-"
		if i == len(lines)-1 {
			sign = " "
		}
		s.say("250" + sign + l)
	}
	return true
}

// setConf takes settings of hidden services; they replace the former ones.
func (s *session) setConf(text string) bool {
	settings, ok := parseSettings(text)
	if !ok {
		return s.say("512 Bad arguments to SETCONF: Cannot parse keyword argument(s)")
	}
	var hidden []string
	for _, l := range settings {
		if strings.HasPrefix(l, "HiddenService") {
			hidden = append(hidden, l)
		}
	}
	if hidden == nil {
		return s.say("250 OK")
	}
	if !strings.HasPrefix(hidden[0], "HiddenServiceDir=") || slices.ContainsFunc(dirsOf(hidden), func(d string) bool { return slices.Contains(s.tor.cfg.Disk.Bad, d) }) {
		return s.say("513 Unacceptable option value: Failed to configure rendezvous options. See logs for details.")
	}
	if !s.tor.setHidden(hidden) {
		return false
	}
	return s.say("250 OK")
}

// parseSettings reads KEY=VALUE words; values may stand in quotes.
func parseSettings(text string) (settings []string, ok bool) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimLeft(text, " ") {
		key, rest, found := strings.Cut(text, "=")
		if !found {
			return nil, false
		}
		var value strings.Builder
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			i := 0
			for ; i < len(quoted) && quoted[i] != '"'; i++ {
				if quoted[i] == '\\' {
					i++
				}
				if i < len(quoted) {
					value.WriteByte(quoted[i])
				}
			}
			if i >= len(quoted) || i+1 < len(quoted) && quoted[i+1] != ' ' {
				return nil, false
			}
			text = quoted[i+1:]
		} else {
			word, more, _ := strings.Cut(rest, " ")
			value.WriteString(word)
			text = more
		}
		settings = append(settings, key+"="+value.String())
	}
	return settings, true
}

// circuits is what tor shows of the introduction circuits of its services, the
// quiet ones included.
func (t *Tor) circuits() string {
	var b strings.Builder
	for i, s := range t.Services() {
		if s.Uploaded {
			fmt.Fprintf(&b, "%d BUILT $%040X~a,$%040X~b BUILD_FLAGS=IS_INTERNAL PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY=%s\r\n", i+1, i, i, s.ID)
		}
	}
	return b.String()
}
