// Package endpoint reads the strings that say where to listen, what to dial
// and where to be found: tub.port, web.port, socks.port, control.port,
// tub.location and their like in tahoe.cfg.
//
// The grammar is that of Twisted's endpoint descriptors:
//
//	KIND:FIELD:FIELD:NAME=FIELD
//
// positional fields first, a backslash before a colon, comma, equals sign or
// backslash that means itself, and several endpoints separated by commas. More
// than Twisted it takes quotes around the whole value, blanks around the
// items of a list, and brackets around IPv6 addresses.
//
// It opens nothing and judges no policy. Start with Parse and ParseList; what
// they return is one of the struct types of this package, told apart by a type
// switch. A new kind is one small file and a line in the table kinds.
package endpoint
