package tor

import (
	"strings"
	"time"

	"tahoe-go/internal/network/tor/control"
)

// descriptors counts the directories of one service.
type descriptors struct {
	at map[string]upload // by directory
}

type upload struct {
	when time.Time
	ok   bool
}

// Tor uploads descriptors again within two hours; a directory not heard of for
// longer is none of the service's any more.
const (
	descriptorLife  = 3 * time.Hour
	directoriesMost = 256
)

// event takes "UPLOAD address auth directory …", "UPLOADED …" or "FAILED …".
func (d *descriptors) event(e control.Event, now time.Time) {
	if len(e.Words) < 4 {
		return
	}
	name, _, _ := strings.Cut(e.Words[3], "~")
	for at, u := range d.at {
		if now.Sub(u.when) > descriptorLife {
			delete(d.at, at)
		}
	}
	if d.at == nil {
		d.at = map[string]upload{}
	}
	if _, known := d.at[name]; !known && len(d.at) >= directoriesMost {
		return
	}
	switch e.Words[0] {
	case "UPLOAD":
		d.at[name] = upload{now, d.at[name].ok}
	case "UPLOADED":
		d.at[name] = upload{now, true}
	case "FAILED":
		if e.Words[2] == "UNKNOWN" { // else a download: somebody here dials the service
			d.at[name] = upload{now, false}
		}
	}
}

func (d *descriptors) count() (uploaded, asked int) {
	for _, u := range d.at {
		if u.ok {
			uploaded++
		}
	}
	return uploaded, len(d.at)
}
