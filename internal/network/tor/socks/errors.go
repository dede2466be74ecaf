package socks

import "fmt"

// Code is the reply of a SOCKS proxy that refused.
type Code byte

// The replies of RFC 1928, section 6, and Tor's own, which it sends from a port
// with the flag ExtendedErrors.
const (
	GeneralFailure     Code = 0x01
	NotAllowed         Code = 0x02
	NetworkUnreachable Code = 0x03
	HostUnreachable    Code = 0x04
	Refused            Code = 0x05
	TimedOut           Code = 0x06
	BadCommand         Code = 0x07
	BadAddressType     Code = 0x08

	OnionNotFound         Code = 0xF0
	OnionInvalid          Code = 0xF1
	OnionIntroFailed      Code = 0xF2
	OnionRendFailed       Code = 0xF3
	OnionMissingAuth      Code = 0xF4
	OnionWrongAuth        Code = 0xF5
	OnionBadAddress       Code = 0xF6
	OnionIntroTimedOut    Code = 0xF7
	firstOnion, lastOnion      = OnionNotFound, OnionIntroTimedOut
)

var sentences = map[Code]string{
	GeneralFailure:     "Tor could not connect: nothing answered behind the address, or the circuit broke",
	NotAllowed:         "Tor's configuration does not allow this connection",
	NetworkUnreachable: "the network of this address cannot be reached from the Tor exit",
	HostUnreachable:    "Tor's exit found no such host, or could not reach it",
	Refused:            "the server is there but nothing listens on this port",
	TimedOut:           "Tor gave up: the server was not reached in time",
	BadCommand:         "the proxy does not know the command: is it Tor?",
	BadAddressType:     "the proxy does not accept host names: is it Tor?",

	OnionNotFound:      "the server's onion address is not published: the server is off, or its tor has just restarted",
	OnionInvalid:       "the server published a broken onion record",
	OnionIntroFailed:   "the server was found but did not answer (introduction failed): it is overloaded or has just gone offline",
	OnionRendFailed:    "the server was found but did not answer (rendezvous failed): it is overloaded or has just gone offline",
	OnionMissingAuth:   "this server needs a client key, and you have none: ask its owner for an invitation",
	OnionWrongAuth:     "this server needs a client key, and yours is not accepted: ask its owner for an invitation",
	OnionBadAddress:    "the onion address is mistyped (its checksum is wrong) or of the retired version 2",
	OnionIntroTimedOut: "the server was found but did not answer (introduction timed out): it is overloaded or has just gone offline",
}

// Error is a refusal by the proxy.
type Error struct {
	Code Code
}

// Error says what the reply means, in a sentence for people, with its number.
func (e *Error) Error() string {
	text, ok := sentences[e.Code]
	if !ok {
		text = "the SOCKS proxy refused for a reason it has no common number for"
	}
	return fmt.Sprintf("%s (SOCKS reply %02X)", text, byte(e.Code))
}

// Onion reports whether the reply is one of Tor's own about onion services.
func (e *Error) Onion() bool { return e.Code >= firstOnion && e.Code <= lastOnion }

// FreshCircuitHelps reports whether another try over another circuit may well
// succeed: the circuit failed, not the address, the key or the server's port.
func (e *Error) FreshCircuitHelps() bool {
	switch e.Code {
	case GeneralFailure, HostUnreachable, TimedOut, OnionIntroFailed, OnionRendFailed, OnionIntroTimedOut:
		return true
	}
	return false
}
