package introducer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"tahoe-go/internal/format/announce"
	"tahoe-go/internal/kit/durable"
	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/foolscap"
)

// maxMemory bounds the file of a Server's memory, in bytes. In JSON a message
// is at most three times as long.
const maxMemory = 64 << 20

// errLater is for a memory that a later program has written.
var errLater = errors.New("written by a later version of this program")

// memory is the file. It holds the triples as they were signed, so that
// reading it proves them again.
type memory struct {
	Version int           `json:"version"` // 1
	Entries []memoryEntry `json:"announcements"`
}

type memoryEntry struct {
	Msg    string    `json:"msg"`
	Sig    string    `json:"sig"`
	Key    string    `json:"key"`
	First  time.Time `json:"first"`
	Seen   time.Time `json:"seen"`
	Absent int64     `json:"absent-seconds"`
}

// load reads the memory. Publishers are away until they publish again.
func (s *Server) load() error {
	text, err := readFile(s.conf.Root, s.conf.File, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var entries []*entry
	if err == nil {
		entries, err = s.parseMemory(text)
	}
	if errors.Is(err, errSize) || errors.Is(err, announce.ErrSyntax) {
		aside := s.conf.File + ".unreadable"
		s.conf.Log.Warn("the introducer's memory cannot be read and is put aside; publishers will announce themselves again", "file", s.conf.File, "to", aside, "err", err)
		if err := (durable.FS{Root: s.conf.Root}).Rename(s.conf.File, aside); err != nil {
			return fmt.Errorf("putting the memory %s aside: %w", s.conf.File, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the memory %s: %w", s.conf.File, err)
	}
	for _, e := range entries {
		at := index{e.ann.Service, e.ann.Key}
		if old := s.entries[at]; old != nil {
			continue
		}
		s.entries[at] = e
		s.bytes += e.size()
	}
	return nil
}

// parseMemory reads the file's text. Entries that are not proven are left out
// and reported; ErrSyntax if it is no memory at all.
func (s *Server) parseMemory(text []byte) ([]*entry, error) {
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: not the JSON of a memory", announce.ErrSyntax) // its error might show a swissnum
	}
	if m.Version != 1 {
		if m.Version > 1 {
			return nil, errLater
		}
		return nil, fmt.Errorf("%w: no version", announce.ErrSyntax)
	}
	var es []*entry
	for _, me := range m.Entries {
		if len(es) >= s.conf.Limits.Announcements {
			s.conf.Log.Warn("the introducer's memory has more announcements than may be kept", "kept", len(es), "in_file", len(m.Entries))
			break
		}
		signed := announce.Signed{Msg: redact.New(me.Msg), Sig: me.Sig, Key: me.Key}
		ann, err := signed.Verify()
		if err != nil {
			s.conf.Log.Warn("announcement in the introducer's memory left out", "err", err)
			continue
		}
		absent := time.Duration(max(0, min(me.Absent, int64(KeepFor/time.Second)))) * time.Second
		es = append(es, &entry{signed: signed, ann: ann, first: me.First, seen: me.Seen, absent: absent, held: map[*foolscap.Conn]struct{}{}})
	}
	return es, nil
}

// save writes the memory unless this generation of it is on disk already: of
// many that wait, one writes for all.
func (s *Server) save(generation int64) error {
	s.saveMu.Lock()
	defer s.saveMu.Unlock()
	if s.saved >= generation {
		return nil
	}
	text, generation, err := s.snapshot()
	if err == nil {
		err = durable.FS{Root: s.conf.Root}.WriteFile(s.conf.File, text, 0o600)
	}
	s.mu.Lock()
	s.saveErr = err
	s.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("writing the introducer's memory: %w", err)
		s.conf.Log.Warn("the introducer's memory could not be written", "file", s.conf.File, "err", err)
		return err
	}
	s.saved = generation
	return nil
}

// snapshot returns the file's text.
func (s *Server) snapshot() ([]byte, int64, error) {
	m := memory{Version: 1, Entries: []memoryEntry{}}
	s.mu.Lock()
	generation := s.generation
	for _, e := range s.entries {
		m.Entries = append(m.Entries, memoryEntry{e.signed.Msg.Reveal(), e.signed.Sig, e.signed.Key, e.first, e.seen, int64(e.absent / time.Second)})
	}
	s.mu.Unlock()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // else a message could grow sixfold
	err := enc.Encode(m)
	return b.Bytes(), generation, err
}

var errSize = errors.New("file too large")

// readFile reads a file of at most so many bytes.
func readFile(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%w: more than %d bytes", errSize, most)
	}
	return text, err
}
