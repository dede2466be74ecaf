package archtest

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
)

// Rule is one thing that must hold.
type Rule struct {
	Name  string
	Why   string
	check func(t *Tree, report reporter)
}

type reporter func(pos token.Pos, format string, args ...any)

// mayDial are the packages that touch the network themselves. Whoever thinks
// of adding one wants a netx.Network handed in.
var mayDial = []string{
	"internal/network/netx",     // the door
	"internal/network/tor",      // what stands behind it
	"internal/network/lockdown", // shows that sockets are refused
	"internal/check/tortest",    // runs real tor processes and must see their ports come up
	"internal/check/leaklab",    // provokes leaks to show that the counters count
}

// Rules are all of them.
var Rules = []Rule{
	{"floors", "a package imports lower floors only", checkFloors},
	{"no caps on the wire", "what talks to the grid cannot hold a cap: least authority, by the compiler", checkNoCaps},
	{"dial", "one seam, nothing leaks around it", checkDial},
	{"http client", "a client without a transport dials the clear network silently", checkHTTPClient},
	{"system roots", "on some systems the platform's verifier goes to the network; keys are pinned instead", checkRoots},
	{"pure codec", "purity keeps vectors and fuzzing trivial", checkCodec},
	{"pure format", "formats take time and randomness from their caller", checkFormat},
	{"tahoe.cfg", "one place to look", checkConfigFile},
	{"environment", "one place to look, and one that writes to stdout", checkEnvironment},
	{"global log", "a logger is handed in", checkLog},
	{"node", "it knows everyone, so no one may know it", checkNode},
	{"tests only", "no fakes in the binary", checkTestsOnly},
	{"package comment", "what it does, what not, where to start", checkComment},
	{"dot import", "a reader must see where a name comes from", checkDotImport},
}

func checkFloors(t *Tree, report reporter) {
	for _, p := range t.Packages {
		if _, u, ok := unit(p.Path); ok && !t.Table.units[u] {
			report(p.Files[0].Syntax.Package, "%s is not in the table of floors in docs/design.md", u)
		}
		for _, f := range p.Files {
			for path, pos := range f.imports() {
				to, ours := strings.CutPrefix(path, module+"/")
				if !ours {
					continue
				}
				if why := t.Table.allows(p.Path, to, f.Test); why != "" {
					report(pos, "%s imports %s: %s", p.Path, to, why)
				}
			}
		}
	}
}

func checkNoCaps(t *Tree, report reporter) {
	knowsCaps := func(path string) bool {
		return below(path, module+"/internal/format/caps", module+"/internal/format/chk", module+"/internal/format/ssk", module+"/internal/format/dirtable")
	}
	for _, p := range t.Packages {
		if below(p.Path, "internal/network", "internal/storage", "internal/grid") {
			if chain := t.pathTo(module+"/"+p.Path, knowsCaps); chain != nil {
				report(p.Files[0].Syntax.Package, "%s", strings.Join(chain, " imports "))
			}
		}
	}
}

// dials are the ways to the network, by import path. A name that ends in * is
// a prefix.
var dials = map[string][]string{
	"net": {"Dial*", "Dialer", "Listen", "ListenIP", "ListenTCP", "ListenUDP", "ListenUnix", "ListenUnixgram", "ListenPacket",
		"ListenMulticastUDP", "ListenConfig", "ListenConfig.*", "Lookup*", "Resolve*", "DefaultResolver", "Interface*", "FileConn", "FileListener", "FilePacketConn",
		"Resolver.*", "TCPConn.File", "UDPConn.*", "IPConn.*"},
	"crypto/tls":        {"Dial*", "Listen"},
	"net/smtp":          {"*"},
	"net/rpc":           {"Dial*"},
	"net/rpc/jsonrpc":   {"Dial*"},
	"log/syslog":        {"*"},
	"net/http":          {"ListenAndServe*", "Server.ListenAndServe*"},
	"net/http/httptest": {"NewServer", "NewTLSServer", "NewUnstartedServer", "Server", "Server.*"},
	"net/http/httputil": {"ReverseProxy", "NewSingleHostReverseProxy"},
	"net/http/pprof":    {"*"},

	"syscall":                                             sockets,
	"golang.org/x/sys/unix":                               sockets,
	"golang.org/x/sys/windows":                            sockets,
	"golang.org/x/crypto/ssh":                             {"Dial"},
	"golang.org/x/net/http2":                              {"Transport", "ConfigureTransport*"},
	"golang.org/x/net/proxy":                              {"*"},
	"golang.org/x/net/websocket":                          {"*"},
	"golang.org/x/net/nettest":                            {"NewLocal*"},
	"github.com/coder/websocket":                          {"Dial*"},
	"github.com/prometheus/client_golang/prometheus/push": {"*"},
}

var sockets = []string{"Socket", "Socketpair", "Connect*", "Bind*", "Listen", "Accept*", "Send*", "Recv*", "WSA*", "Getaddrinfo", "GetAddrInfo*", "DnsQuery*",
	"Syscall*", "RawSyscall*", "SYS_SOCKET", "SYS_CONNECT"}

// matches reports whether name is in a list as that of dials.
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		prefix, star := strings.CutSuffix(s, "*")
		return s == name || star && strings.HasPrefix(name, prefix)
	})
}

// checkUses reports what of banned is used in the files that applies picks.
func checkUses(t *Tree, report reporter, banned map[string][]string, applies func(*File) bool) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !applies(f) {
				continue
			}
			for _, u := range f.uses() {
				if matches(banned[u.pkg], u.name) {
					report(u.pos, "%s uses %s.%s", p.Path, u.pkg, u.name)
				}
			}
		}
	}
}

// Tests too: they have memnet and netx.Loopback.
func checkDial(t *Tree, report reporter) {
	checkUses(t, report, dials, func(f *File) bool { return !below(f.Pkg.Path, mayDial...) })
}

var globalHTTP = map[string][]string{
	"net/http": {"DefaultClient", "DefaultTransport", "Get", "Post", "PostForm", "Head", "ProxyFromEnvironment", "ProxyURL"},
}

// checkHTTPClient lets nobody but netx hold a Client or Transport by value:
// not as a literal, not from new, not as a variable, field or type argument.
func checkHTTPClient(t *Tree, report reporter) {
	outside := func(f *File) bool { return !below(f.Pkg.Path, "internal/network/netx") }
	checkUses(t, report, globalHTTP, outside)
	isClient := func(ty types.Type) bool {
		return isNamed(ty, "net/http", "Client") || isNamed(ty, "net/http", "Transport")
	}
	const why = "only netx.HTTPClient makes an %s"
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !outside(f) {
				continue
			}
			for _, u := range f.uses() {
				if u.pkg == "net/http" && (u.name == "Client" || u.name == "Transport") && !u.pointer {
					report(u.pos, why, "http."+u.name)
				}
			}
			if f.Info == nil {
				continue
			}
			eachIn(f, func(id *ast.Ident) {
				if v, ok := f.Info.Defs[id].(*types.Var); ok && isClient(v.Type()) {
					report(id.Pos(), why, "http."+typeName(v.Type()))
				}
				if inst, ok := f.Info.Instances[id]; ok {
					for ty := range inst.TypeArgs.Types() {
						if isClient(ty) {
							report(id.Pos(), why, "http."+typeName(ty))
						}
					}
				}
			})
			eachIn(f, func(lit *ast.CompositeLit) { // with the type left out: []*http.Client{{}}
				ty := f.Info.TypeOf(lit)
				if ptr, ok := types.Unalias(ty).(*types.Pointer); ok {
					ty = ptr.Elem()
				}
				if isClient(ty) {
					report(lit.Pos(), why, "http."+typeName(ty))
				}
			})
		}
	}
}

// eachIn calls do for every node of one type.
func eachIn[N ast.Node](f *File, do func(N)) {
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if n, ok := n.(N); ok {
			do(n)
		}
		return true
	})
}

var systemRoots = map[string][]string{
	"crypto/x509": {"SystemCertPool", "SetFallbackRoots", "VerifyOptions", "Certificate.Verify"},
	"crypto/tls":  {".VerifyPeerCertificate"}, // not called when a session is resumed; VerifyConnection is
}

// checkRoots also wants every tls.Config literal to say whom it trusts or who
// it is. Tests may skip verification.
func checkRoots(t *Tree, report reporter) {
	outside := func(f *File) bool { return !below(f.Pkg.Path, "internal/network/netx") }
	checkUses(t, report, systemRoots, func(*File) bool { return true })
	enough := []string{"RootCAs", "VerifyConnection", "Certificates", "GetCertificate", "GetConfigForClient"}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Info == nil || !outside(f) {
				continue
			}
			eachIn(f, func(lit *ast.CompositeLit) {
				if !isNamed(f.Info.TypeOf(lit), "crypto/tls", "Config") {
					return
				}
				for _, e := range lit.Elts {
					key, _ := e.(*ast.KeyValueExpr).Key.(*ast.Ident)
					if slices.Contains(enough, key.Name) || f.Test && key.Name == "InsecureSkipVerify" {
						return
					}
				}
				report(lit.Pos(), "a tls.Config that names no pinned key (VerifyConnection), no roots and no certificate trusts the system's roots")
			})
		}
	}
}

// checkImports reports imports that match banned in the product files below
// folder.
func checkImports(t *Tree, report reporter, folder string, banned []string) {
	for _, p := range t.Packages {
		if !below(p.Path, folder) {
			continue
		}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for path, pos := range f.imports() {
				if matches(banned, path) {
					report(pos, "%s imports %s", p.Path, path)
				}
			}
		}
	}
}

func checkCodec(t *Tree, report reporter) {
	checkImports(t, report, "internal/codec", []string{"context", "os", "os/*", "io/fs", "net", "net/*", "time", "log", "log/*", "math/rand", "math/rand/*", "crypto/rand", "syscall", "golang.org/x/sys/*"})
}

func checkFormat(t *Tree, report reporter) {
	checkImports(t, report, "internal/format", []string{"os", "os/*", "io/fs", "net/http", "net/http/*", "log", "log/*", "math/rand", "math/rand/*", "crypto/rand", "syscall", "golang.org/x/sys/*"})
	checkUses(t, report, map[string][]string{
		"time":    {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
		"context": {"Background", "TODO"},
	}, func(f *File) bool { return !f.Test && below(f.Pkg.Path, "internal/format") })
}

// checkConfigFile looks for the name itself, not for sentences that mention it.
func checkConfigFile(t *Tree, report reporter) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test || f.Info == nil || below(p.Path, "internal/node/config", "internal/check") {
				continue
			}
			eachIn(f, func(e ast.Expr) {
				v := f.Info.Types[e].Value
				if v == nil || v.Kind() != constant.String {
					return
				}
				if s := constant.StringVal(v); !strings.Contains(s, " ") && path.Base(s) == "tahoe.cfg" {
					report(e.Pos(), "%s knows the file tahoe.cfg; ask node/config", p.Path)
				}
			})
		}
	}
}

func checkEnvironment(t *Tree, report reporter) {
	checkUses(t, report, map[string][]string{
		"os": {"Getenv", "LookupEnv", "Environ", "Setenv", "Unsetenv", "Clearenv", "ExpandEnv", "UserHomeDir", "UserConfigDir", "UserCacheDir",
			"Stdout", "Stdin", "Args", "Exit"},
		"syscall":                  {"Getenv", "Setenv", "Unsetenv", "Environ", "Clearenv", "Stdout", "Exit"},
		"golang.org/x/sys/unix":    {"Getenv", "Setenv", "Unsetenv", "Environ", "Clearenv", "Exit"},
		"golang.org/x/sys/windows": {"Getenv", "Setenv", "Unsetenv", "Environ", "Clearenv", "Exit"},
		"fmt":                      {"Print", "Printf", "Println", "Scan*"},
	}, func(f *File) bool {
		return !f.Test && !below(f.Pkg.Path, "cmd/tahoe", "internal/face/cli", "internal/check")
	})
}

func checkLog(t *Tree, report reporter) {
	checkUses(t, report, map[string][]string{
		"log": {"Print*", "Fatal*", "Panic*", "Default", "Output", "Set*"},
		"log/slog": {"Default", "SetDefault", "SetLogLoggerLevel", "Debug", "Info", "Warn", "Error", "Log", "LogAttrs",
			"DebugContext", "InfoContext", "WarnContext", "ErrorContext", "With"},
	}, func(f *File) bool { return !f.Test && !below(f.Pkg.Path, "internal/check") })
}

func checkNode(t *Tree, report reporter) {
	for _, p := range t.Packages {
		if below(p.Path, "cmd/tahoe", "internal/check/gridtest") || p.Path == "internal/node/node" {
			continue
		}
		for _, f := range p.Files {
			if pos, ok := f.imports()[module+"/internal/node/node"]; ok {
				report(pos, "%s imports node; only cmd/tahoe and check/gridtest do", p.Path)
			}
		}
	}
}

func checkTestsOnly(t *Tree, report reporter) {
	fake := func(path string) bool {
		return below(path, "testing", module+"/internal/check", module+"/internal/storage/storagetest", module+"/internal/storage/faultstore", module+"/internal/network/memnet",
			"net/http/httptest", "pgregory.net/rapid", "go.uber.org/goleak", "github.com/google/go-cmp", "golang.org/x/tools", "golang.org/x/net/nettest")
	}
	for _, p := range t.Packages {
		if below(p.Path, "cmd") {
			if chain := t.pathTo(module+"/"+p.Path, fake); chain != nil {
				report(p.Files[0].Syntax.Package, "%s", strings.Join(chain, " imports "))
			}
		}
	}
}

func checkComment(t *Tree, report reporter) {
	for _, p := range t.Packages {
		onlyTests := !slices.ContainsFunc(p.Files, func(f *File) bool { return !f.Test })
		has := func(f *File) bool { return f.Syntax.Doc != nil && (!f.Test || onlyTests) }
		if !slices.ContainsFunc(p.Files, has) {
			report(p.Files[0].Syntax.Package, "%s has no package comment", p.Path)
		}
	}
}

func checkDotImport(t *Tree, report reporter) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, s := range f.Syntax.Imports {
				if s.Name != nil && s.Name.Name == "." {
					report(s.Pos(), "%s is imported with a dot", s.Path.Value)
				}
			}
		}
	}
}
