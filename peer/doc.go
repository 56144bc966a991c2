// Package peer keeps folders in step with the other devices that share them.
//
// A Node is a home's presence on the network: one UDP socket on which it both listens and
// dials QUIC, with TLS 1.3 and the devices' own Ed25519 keys at both ends. There are no
// names, no certificate authorities and no servers: a device is its key.
//
// On a connection run
//
//   - a control stream: who calls, and where else it can be reached;
//   - one sync stream per shared folder in each direction: the frontier, missing entries,
//     then new ones as they are made, and acknowledgements; between them a checkpoint, if the
//     other end is new to the folder, and digests of a folder at rest;
//   - blob streams: objects in verified slices, always behind the sync streams;
//   - a join stream, which buys admission with the secret of a ticket;
//   - datagrams: which files programs have open, forgotten after some seconds.
//
// Promises: a device that no folder here admits learns nothing but that something listens,
// and holds the one connection it has for seconds only. Whatever a peer sends, the worst
// that follows is that it is dropped and named in Status. A folder's entries do not wait for
// its objects. Connections come back by themselves, and say one message per folder when
// there is nothing new.
//
// It never decides what is accepted into a folder (package crdt does), never reads what
// entries say, and never makes anyone wait but the callers of Join and SyncWait.
package peer
