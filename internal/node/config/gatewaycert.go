package config

import (
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"tahoe-go/internal/node/config/endpoint"
)

// GatewayCert returns the certificate, as DER, that the web gateway of a node
// shows whose web.port is ssl:…: by it programs on the same machine know that
// they talk to that node. Problems of other keys do not matter.
func (o Options) GatewayCert(dir string) ([]byte, error) {
	c, err := o.Load(dir)
	if c == nil {
		return nil, err
	}
	p, ok := c.Node.WebPort.(endpoint.SSL)
	if !ok {
		return nil, errors.New("web.port in tahoe.cfg names no certificate")
	}
	file := cmp.Or(p.CertKey, p.PrivateKey)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes, nil // the first is the node's own
		}
	}
	return nil, fmt.Errorf("there is no certificate in %s", file)
}
