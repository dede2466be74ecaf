package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tahoe-go/internal/kit/redact"
	"tahoe-go/internal/network/netx"
	"tahoe-go/internal/network/tor/onion"
	"tahoe-go/internal/node/config"
)

// createFlags are the options that the create commands share.
type createFlags struct {
	config.CreateOptions
	basedir    string
	introducer string
	listen     string
	join       string

	noTor bool // there is none on this machine yet
}

func (f *createFlags) common(fs *pflag.FlagSet) {
	fs.StringVarP(&f.basedir, "basedir", "C", "", "make the node in `DIR`")
	fs.BoolVar(&f.HideIP, "hide-ip", false, "keep this machine's address from everyone: all connections through Tor")
}

func (f *createFlags) client(fs *pflag.FlagSet) {
	fs.StringVarP(&f.Nickname, "nickname", "n", "", "`NAME` that others see")
	fs.StringVarP(&f.introducer, "introducer", "i", "", "`FURL` of the grid's introducer, or a file that holds it")
	fs.StringVarP(&f.WebPort, "webport", "p", config.DefaultWebPort, "`ENDPOINT` where the web gateway listens; none for no gateway")
	fs.IntVar(&f.Needed, "shares-needed", 3, "`K` shares are needed to read a new file back")
	fs.IntVar(&f.Happy, "shares-happy", 7, "`H` servers at least must hold shares of a new file")
	fs.IntVar(&f.Total, "shares-total", 10, "`N` shares are made of a new file")
	fs.StringVar(&f.join, "join", "", "invite `CODE` (not supported yet)")
}

func (f *createFlags) where(fs *pflag.FlagSet) {
	fs.StringVar(&f.listen, "listen", "tcp", "how others reach this node: `LIST` of tcp and tor, or none")
	fs.StringVar(&f.Hostname, "hostname", "", "`NAME` or address of this machine for others (with --listen=tcp)")
	fs.StringVar(&f.Port, "port", "", "`ENDPOINT` to listen on, with --location")
	fs.StringVar(&f.Location, "location", "", "`HINTS` where others find this node, with --port")
	for _, name := range []string{"i2p-sam-port", "i2p-executable"} {
		fs.String(name, "", "not supported yet")
		fs.MarkHidden(name)
	}
	fs.Bool("i2p-launch", false, "not supported yet")
	fs.MarkHidden("i2p-launch")
}

func (f *createFlags) tor(fs *pflag.FlagSet) {
	fs.BoolVar(&f.TorLaunch, "tor-launch", false, "start a tor of the node's own")
	fs.StringVar(&f.TorExecutable, "tor-executable", "", "`PROGRAM` for --tor-launch")
	fs.StringVar(&f.TorControlPort, "tor-control-port", "", "control port of a running tor: `ENDPOINT` unix:PATH or tcp:127.0.0.1:PORT")
}

func (a *app) createNodeCmd() *cobra.Command {
	var f createFlags
	c := &cobra.Command{
		Use:   "create-node [NODEDIR]",
		Short: "make the directory of a node that stores files and offers storage",
		Long: "Makes a node directory with its keys and settings; `tahoe run` then runs it.\n" +
			"Others must be able to reach the node: say how with --hostname, or use --listen=tor.",
		Example: "  tahoe create-node --listen=tor --hide-ip ~/server     an onion service\n" +
			"  tahoe create-node --hostname=storage.example.org      on the clear network",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.create(cmd, &f, args) },
	}
	f.common(c.Flags())
	f.client(c.Flags())
	f.where(c.Flags())
	f.tor(c.Flags())
	c.Flags().BoolVar(&f.NoStorage, "no-storage", false, "offer no storage to others")
	c.Flags().StringVar(&f.StorageDir, "storage-dir", "", "keep others' shares in `DIR`")
	c.Flags().BoolVar(&f.Helper, "helper", false, "run an upload helper (not supported yet)")
	complete(c, "listen", "tcp", "tor", "tcp,tor", "none")
	return c
}

func (a *app) createClientCmd() *cobra.Command {
	f := createFlags{listen: "none"}
	f.NoStorage = true
	c := &cobra.Command{
		Use:   "create-client [NODEDIR]",
		Short: "make the directory of a node that only stores and fetches files",
		Long: "Makes a node directory with its keys and settings; `tahoe run` then runs it.\n" +
			"A client offers no storage and listens to nobody but this machine. Onion servers are reached by\n" +
			"the tor of this machine, which is found by itself; --hide-ip has everything go through Tor.",
		Example: "  tahoe create-client --hide-ip                with the tor of this machine\n" +
			"  tahoe create-client --hide-ip --tor-launch   with one of the node's own",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.create(cmd, &f, args) },
	}
	f.common(c.Flags())
	f.client(c.Flags())
	f.tor(c.Flags())
	return c
}

func (a *app) createIntroducerCmd() *cobra.Command {
	var f createFlags
	c := &cobra.Command{
		Use:   "create-introducer NODEDIR",
		Short: "make the directory of an introducer, by which nodes of a grid find each other",
		Long: "Makes the directory of an introducer; `tahoe run` then runs it. The nodes of the grid are given the\n" +
			"address in its private/introducer.furl (`tahoe create-node --introducer`), and hear through it of each\n" +
			"other's storage servers. They must be able to reach it: say how with --hostname, or use --listen=tor.",
		Example: "  tahoe create-introducer --listen=tor --hide-ip ~/introducer     an onion service\n" +
			"  tahoe create-introducer --hostname=grid.example.org ~/introducer",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && f.basedir == "" && a.dir == "" {
				return fail("name one that is not there yet or is empty: tahoe create-introducer ~/introducer", "which folder is the introducer to live in?")
			}
			f.Kind = config.IntroducerNode
			return a.create(cmd, &f, args)
		},
	}
	f.common(c.Flags())
	f.where(c.Flags())
	f.tor(c.Flags())
	c.Flags().StringVarP(&f.WebPort, "webport", "p", "none", "`ENDPOINT` where a page shows who is there, such as "+config.DefaultIntroducerWebPort)
	complete(c, "listen", "tcp", "tor", "tcp,tor")
	return c
}

// create makes a node directory and says what to do next.
func (a *app) create(cmd *cobra.Command, f *createFlags, args []string) error {
	dir, err := a.nodeDir(f.basedir, operand(args))
	if err != nil {
		return err
	}
	if f.join != "" {
		return fail("make the node without it and use `tahoe add-server`", "--join: invite codes are not supported yet")
	}
	for _, name := range []string{"i2p-sam-port", "i2p-executable", "i2p-launch"} {
		if cmd.Flags().Changed(name) {
			return fail("", "--%s: I2P is not supported yet", name)
		}
	}
	o := f.CreateOptions
	o.Listen = strings.Split(f.listen, ",")
	o.FreePort = func() (int, error) { return freePort(cmd.Context()) }
	if o.Introducer, err = f.introducerFURL(); err != nil {
		return err
	}
	if f.listensToTor() {
		if err := f.prepareTor(&o); err != nil {
			return err
		}
	}
	made, err := config.Create(dir, o, time.Now())
	if err != nil {
		return createError(err)
	}
	a.created(dir, o, made, f.noTor)
	return nil
}

// introducerFURL is what --introducer gives. Whoever has it can join the grid,
// and other users of the machine see what a command is called with; so it may
// stand in a file.
func (f *createFlags) introducerFURL() (redact.Secret, error) {
	switch {
	case f.introducer == "":
		return redact.Secret{}, nil
	case strings.HasPrefix(f.introducer, "pb://"):
		return redact.New(f.introducer), nil
	}
	file, err := os.Open(f.introducer)
	if err != nil {
		return redact.Secret{}, fail("give the address, which begins with pb://, or a file that holds it", "--introducer: %v", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxEntry))
	return redact.New(strings.TrimSpace(string(text))), err
}

func (f *createFlags) listensToTor() bool {
	for l := range strings.SplitSeq(f.listen, ",") {
		if l == "tor" {
			return true
		}
	}
	return false
}

// prepareTor makes the onion key, which needs no running tor, and settles
// which tor will publish it: the system's if its control socket is there, else
// one of the node's own.
func (f *createFlags) prepareTor(o *config.CreateOptions) error {
	key, err := onion.NewKey(rand.Reader)
	if err != nil {
		return err
	}
	o.Onion = config.Onion{Host: key.Address().String(), Key: redact.New(key.Reveal())}
	if f.TorLaunch || f.TorControlPort != "" {
		return nil
	}
	if _, err := os.Stat("/run/tor/control"); err == nil {
		return nil // config's default
	}
	if _, err := exec.LookPath("tor"); err == nil {
		o.TorLaunch = true
		return nil
	}
	f.noTor = true
	return nil
}

// freePort finds a TCP port that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := netx.Loopback{}.Listen(ctx, netx.Addr{Kind: netx.TCP, Host: "127.0.0.1"})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// createError turns what Create said into what to do about it.
func createError(err error) error {
	if errors.Is(err, config.ErrNotEmpty) {
		return fail("choose another folder, or empty this one; nothing was changed", "%v", err)
	}
	if errs, ok := errors.AsType[config.OptionErrors](err); ok {
		return &exitError{Code: exitFailed, Msg: strings.Join(errs, "\ntahoe: ")}
	}
	return err
}

// created says what was made, what is still missing, and how to go on.
func (a *app) created(dir string, o config.CreateOptions, made config.Created, noTor bool) {
	say := func(format string, args ...any) { fmt.Fprintf(a.Stdout, format+"\n", args...) }
	if o.Kind == config.IntroducerNode {
		say("Introducer created in %s", dir)
	} else {
		say("Node created in %s", dir)
	}
	switch {
	case o.Onion.Host != "":
		say("  onion address  %s", o.Onion.Host)
		tor := "the tor that runs at " + firstOf(o.TorControlPort, config.DefaultTorControl)
		if o.TorLaunch {
			tor = "a tor of its own, started with it"
		}
		if noTor {
			tor = "not found on this machine: install it (Debian: apt install tor); the node waits for it at " + config.DefaultTorControl
		}
		say("  Tor            %s", tor)
	case o.HideIP:
		say("  Tor            all connections go through it; nobody is told this machine's address")
		if o.TorLaunch {
			say("                 it is one of the node's own, started with it")
		}
	case o.TorLaunch:
		say("  Tor            a tor of its own, started with it")
	}
	if made.Server.ID != "" {
		say("  for clients    %s", filepath.Join(dir, filepath.FromSlash(config.EntryFile)))
		say("                 whoever has this file may store here: hand it over safely, then `tahoe add-server`")
	}
	if o.Kind == config.IntroducerNode {
		say("  for the grid   %s", filepath.Join(dir, filepath.FromSlash(config.IntroducerFURLFile)))
		say("                 whoever has this file may join: hand it over safely, then `tahoe create-node --introducer=FILE`")
	} else if !o.Introducer.IsZero() {
		say("  introducer     in %s", filepath.Join(dir, "private", "introducers.yaml"))
	}
	for _, p := range made.Later {
		say("  not yet        %s", p)
	}
	say("")
	say("Run it with:   tahoe run %s", shellWord(dir))
	if o.NoStorage && o.Kind != config.IntroducerNode && o.Introducer.IsZero() {
		say("Servers are added with:   tahoe -d %s add-server FILE", shellWord(dir))
	}
}

func firstOf(s ...string) string {
	for _, t := range s {
		if t != "" {
			return t
		}
	}
	return ""
}

// shellWord quotes a path for pasting, if need be.
func shellWord(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !(r == '/' || r == '.' || r == '-' || r == '_' || r == '~' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}) < 0 {
		return s
	}
	if strings.Contains(s, "'") {
		return strconv.Quote(s)
	}
	return "'" + s + "'"
}

// operand is the one operand, or "".
func operand(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
