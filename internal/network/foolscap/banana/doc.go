// Package banana is Foolscap's serialization: tokens, the values made of them,
// and schemas that refuse what a caller did not ask for before memory is spent
// on it.
//
// It knows no connections and no calls (package foolscap does) and writes to
// memory only: an Encoder appends to a byte slice, a Decoder pulls from an
// io.Reader. References to objects are handed to the functions in
// Encoder.Other and Decoder.Refs. The specification is Foolscap's
// doc/specifications/banana.rst as its program speaks it: range 3, vocabulary
// table 1. Start with Encoder, Decoder and the constructors of Schema.
package banana
