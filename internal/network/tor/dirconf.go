package tor

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/control"
)

// hiddenServices is what tor answers to GETCONF HiddenServiceOptions: the
// settings of all services, each beginning with its folder. SETCONF replaces
// all of them, so whoever adds one sends the others along, unchanged.
type hiddenServices []control.Setting

// The settings of tor that are looked at or made.
const (
	dirKey  = "HiddenServiceDir"
	portKey = "HiddenServicePort"
)

// known leaves out what tor answers where there is no service.
func known(answer []control.Setting) hiddenServices {
	return slices.DeleteFunc(hiddenServices(answer), func(s control.Setting) bool { return s.Default })
}

// find returns the settings of the service in dir, without that of the folder.
func (h hiddenServices) find(dir string) (settings []control.Setting, ok bool) {
	for i, s := range h {
		if isKey(s, dirKey) && filepath.Clean(s.Value) == filepath.Clean(dir) {
			rest := h[i+1:]
			if end := slices.IndexFunc(rest, func(s control.Setting) bool { return isKey(s, dirKey) }); end >= 0 {
				rest = rest[:end]
			}
			return rest, true
		}
	}
	return nil, false
}

// with returns the services and one more. Its path goes to tor as it is.
func (h hiddenServices) with(dir string, port int, target netx.Addr) []control.Setting {
	return append(slices.Clone(h),
		control.Setting{Key: dirKey, Value: dir},
		control.Setting{Key: portKey, Value: portLine(port, target)})
}

func isKey(s control.Setting, key string) bool { return strings.EqualFold(s.Key, key) }

// portLine is the value of HiddenServicePort.
func portLine(port int, target netx.Addr) string {
	if target.Kind == netx.Unix {
		return fmt.Sprintf("%d unix:%s", port, target.Host)
	}
	return fmt.Sprintf("%d %s", port, hostPort(target.Host, target.Port))
}

// targetOf says where tor delivers connections to a port of a service. It is
// zero if the service has no such port.
func targetOf(service []control.Setting, port int) (netx.Addr, error) {
	for _, s := range service {
		virtual, target, _ := strings.Cut(strings.TrimSpace(s.Value), " ")
		if isKey(s, portKey) && virtual == strconv.Itoa(port) {
			return parseTarget(port, strings.TrimSpace(target))
		}
	}
	return netx.Addr{}, nil
}

// parseTarget reads what may follow the port in HiddenServicePort: nothing, a
// port, an address with port, or a socket.
func parseTarget(port int, s string) (netx.Addr, error) {
	at := netx.Addr{Kind: netx.TCP, Host: "127.0.0.1", Port: port}
	if s == "" {
		return at, nil
	}
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
		at.Port = int(n)
		return at, nil
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if quoted := control.Quoted(path); strings.HasPrefix(path, `"`) && len(quoted) == 1 {
			path = quoted[0]
		}
		if !filepath.IsAbs(path) {
			return at, fmt.Errorf("tor delivers to the socket %q, which is no absolute path", path)
		}
		return netx.Addr{Kind: netx.Unix, Host: path}, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || !ap.Addr().Unmap().IsLoopback() || ap.Port() == 0 {
		return at, fmt.Errorf("tor delivers to %q, which is not this machine", s)
	}
	at.Host, at.Port = ap.Addr().String(), int(ap.Port())
	return at, nil
}

// torrcLines are what an operator writes to have a service set up by tor
// itself.
func torrcLines(dir string, port int, target netx.Addr) string {
	if strings.ContainsAny(dir, " \t#\"'\\") {
		dir = control.Quote(dir)
	}
	return fmt.Sprintf("%q and %q", dirKey+" "+dir, portKey+" "+portLine(port, target))
}
