package announce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a grid manager's file.
const (
	maxManager = 4 << 20 // bytes
	maxName    = 200     // bytes of a server's name
)

// GridManager is who gives certificates: its key, and the servers that it knows
// by name. It holds the private key, which does not print. It is not for
// concurrent use.
type GridManager struct {
	key     SigningKey
	servers map[string]Key
}

// Errors of a GridManager, to branch on.
var (
	ErrKnownServer   = errors.New("there is a server of this name")
	ErrUnknownServer = errors.New("there is no server of this name")
)

// managerJSON is the file config.json.
type managerJSON struct {
	Version *int                  `json:"grid_manager_config_version"`
	Key     string                `json:"private_key"`
	Servers map[string]serverJSON `json:"storage_servers,omitempty"`
}

type serverJSON struct {
	Key string `json:"public_key"`
}

// NewGridManager makes one with a key from random, that knows no server.
func NewGridManager(random io.Reader) (*GridManager, error) {
	key, err := NewSigningKey(random)
	if err != nil {
		return nil, err
	}
	return &GridManager{key, map[string]Key{}}, nil
}

// ParseGridManager reads config.json. Errors are ErrSyntax or ErrUnknownKey and
// show nothing of the key.
func ParseGridManager(text []byte) (*GridManager, error) {
	if len(text) > maxManager {
		return nil, fmt.Errorf("grid manager: %w: %d bytes", ErrSyntax, len(text))
	}
	var j managerJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("grid manager: %w: not the JSON of a grid manager", ErrSyntax)
	}
	if j.Version == nil || *j.Version != 0 {
		return nil, fmt.Errorf("grid manager: %w: not of version 0", ErrSyntax)
	}
	key, err := ParseSigningKey(j.Key)
	if err != nil {
		return nil, fmt.Errorf("grid manager: %w", err)
	}
	m := &GridManager{key, map[string]Key{}}
	for name, s := range j.Servers {
		server, err := ParsePublic(s.Key)
		if err == nil {
			err = m.Add(name, server)
		}
		if err != nil {
			return nil, fmt.Errorf("grid manager: server %.40q: %w", name, err)
		}
	}
	return m, nil
}

// Reveal is the text of config.json, private key and all.
func (m *GridManager) Reveal() []byte {
	j := managerJSON{Version: new(int), Key: m.key.Reveal(), Servers: map[string]serverJSON{}}
	for name, key := range m.servers {
		j.Servers[name] = serverJSON{key.Public()}
	}
	text, err := json.MarshalIndent(j, "", "    ")
	if err != nil {
		panic("announce: internal error: " + err.Error()) // names are UTF-8
	}
	return append(text, '\n')
}

// Identity is the public key, for those who trust the manager.
func (m *GridManager) Identity() Key { return m.key.Key() }

// Names are those of the servers, sorted.
func (m *GridManager) Names() []string { return slices.Sorted(maps.Keys(m.servers)) }

// Server is the key of a server.
func (m *GridManager) Server(name string) (Key, bool) {
	key, ok := m.servers[name]
	return key, ok
}

// Add makes a server known by a name that can begin a file's. ErrKnownServer or
// ErrSyntax.
func (m *GridManager) Add(name string, server Key) error {
	switch {
	case name == "" || len(name) > maxName || !utf8.ValidString(name) || name[0] == '.' || strings.ContainsAny(name, "/\\:\x00\n"):
		return fmt.Errorf("%w: the name cannot begin that of a file", ErrSyntax)
	case m.servers[name] != Key{}:
		return ErrKnownServer
	}
	m.servers[name] = server
	return nil
}

// Remove forgets a server. ErrUnknownServer.
func (m *GridManager) Remove(name string) error {
	if _, ok := m.servers[name]; !ok {
		return ErrUnknownServer
	}
	delete(m.servers, name)
	return nil
}

// Certify vouches for a server until a time. ErrUnknownServer.
func (m *GridManager) Certify(name string, expires time.Time) (Certificate, error) {
	server, ok := m.servers[name]
	if !ok {
		return Certificate{}, ErrUnknownServer
	}
	return Certify(m.key, Grant{server, expires})
}
