package endpoint

import "fmt"

// Onion is an onion service set up through tor's control port: in tub.port
// a place to listen, in tub.location that place and the hint that leads to it.
// Its address is that of the key in HiddenServiceDir or in PrivateKeyFile; with
// neither, the node's own key.
type Onion struct {
	Port             int    // inside the onion address
	HiddenServiceDir string // tor's folder for the service
	PrivateKeyFile   string // holds a key as ADD_ONION takes it
	ControlPort      Value  // DialTCP or DialUnix; nil: as in [tor]
	LocalPort        int    // where tor connects to; 0: not said
	SingleHop        bool   // fast and not anonymous
}

var onionFields = []string{"port", "", "hiddenServiceDir", "privateKeyFile", "controlPort", "localPort", "version", "singleHop", "privateKey"}

var onion = kind{"onion", "onion:PORT[:hiddenServiceDir=DIR]", onionFields, buildOnion}

func buildOnion(f *fields) Value {
	o := Onion{
		Port:             f.port("port", 1),
		HiddenServiceDir: f.opt("hiddenServiceDir"),
		PrivateKeyFile:   f.opt("privateKeyFile"),
		LocalPort:        f.number("localPort", 1, 65535, 0),
		SingleHop:        f.flag("singleHop", false),
	}
	for _, name := range []string{"hiddenServiceDir", "privateKeyFile", "controlPort"} {
		if f.has(name) {
			f.need(name)
		}
	}
	if f.has("privateKey") {
		f.fail(f.args["privateKey"].pos, "a key does not belong into this file: put it into one that only you can read, and name that with privateKeyFile")
	}
	if o.HiddenServiceDir != "" && o.PrivateKeyFile != "" {
		f.fail(f.args["privateKeyFile"].pos, "hiddenServiceDir has its own key: give one of the two")
	}
	if v := f.number("version", 2, 3, 3); v == 2 {
		f.fail(f.args["version"].pos, "Tor gave up version 2 onion services in 2021: leave version out, or write version=3; the service gets another address")
	}
	if f.has("controlPort") && f.err == nil {
		o.ControlPort = nestedDial(f, "controlPort")
	}
	return o
}

// nestedDial reads a field that is an endpoint itself, or a bare port of this
// machine.
func nestedDial(f *fields, name string) Value {
	t := f.args[name]
	if isDigits(t.text) {
		return DialTCP{"127.0.0.1", f.port(name, 1)}
	}
	v, err := dialKinds.parse(Dial, t.text)
	if err != nil {
		f.fail(t.pos, "%s: %v", name, err)
		return nil
	}
	return v
}

func (o Onion) String() string {
	control, hop := "", ""
	if o.ControlPort != nil {
		control = o.ControlPort.String()
	}
	if o.SingleHop {
		hop = "true"
	}
	return text("onion", "", fmt.Sprint(o.Port), "hiddenServiceDir", o.HiddenServiceDir, "privateKeyFile", o.PrivateKeyFile,
		"controlPort", control, "localPort", number(o.LocalPort), "singleHop", hop)
}

// Provider is "listen:tor" or "listen:i2p": where the section [tor] or [i2p]
// says.
type Provider struct{ Name string }

var providerListen = kind{"listen", "listen:tor", []string{"provider"}, func(f *fields) Value {
	p := Provider{f.need("provider")}
	if p.Name != "tor" && p.Name != "i2p" {
		f.fail(min(f.args["provider"].pos, len(f.text)), "listen: knows tor and i2p, not %q", p.Name)
	}
	return p
}}

func (p Provider) String() string { return "listen:" + p.Name }
