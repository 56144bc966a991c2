// Package feed is the format of entries: what one device did to one folder, in an
// append-only, hash-linked, signed and encrypted log.
//
// A feed belongs to one device and one run of it; an [Entry] names its feed, its place
// in it, the entry before it, what its maker had seen of the other feeds, and carries
// operations as ciphertext. Entries travel and rest exactly as they were signed, so that
// whoever stores and forwards them needs no key.
//
// The package promises that
//   - an entry has one encoding: Decode accepts nothing but the bytes that Seal made or
//     could have made, within limits that makers obey too, so that every device accepts
//     the same entries;
//   - Decode, DecodeFrontier, Verify and Open never panic and never allocate more than
//     their limits allow, whatever the bytes;
//   - a payload opens only with the key that its header names, and only in the place
//     (folder, feed, sequence number, predecessor, frontier, time) it was made for.
//
// It never decides who may write, whether an entry's predecessors are here, or what the
// operations mean, and it does no input or output.
//
// # Format, version 2
//
// All of it is CBOR in the core deterministic encoding of RFC 8949. An entry is
//
//	[header: bytes, payload: bytes, signature: bytes of 64]
//
// where header holds the encoding of
//
//	[version, device, run, seq, prev, [[device, run, seq, hash], …], epoch, time]
//
// and payload is an 8-byte salt followed by XChaCha20-Poly1305 of the packed operations: a
// zero byte and they themselves, or a one and their zstd, whichever is shorter. Other first bytes,
// and higher versions, are those of a newer sheaf (ErrNewer). The folder is
// not in the entry, because who has one always knows it, but everything depends on it: the
// additional data is the folder and the header, the nonce is the first 24 bytes of BLAKE3 (key
// derivation mode, context [nonceContext]) over these and the salt, and the entry's hash is
// BLAKE3 (the same, context [entryContext]) over the folder and every byte of the entry before
// the signature's own element. What is signed is a domain string followed by that hash.
//
// A device seals two entries of one header only if a copy of its home is at work, in the same
// millisecond; the salt is for that.
package feed
