// Package server reaches models through a server that a person runs: Ollama by
// its own protocol, anything else (llama-server, LM Studio, vLLM, a configured
// service) by the OpenAI-compatible one.
//
// [Detect] looks only at the loopback addresses 127.0.0.1 and ::1, and only at
// servers that belong to this user or to the system: what a person asks is not
// told to a program of somebody else. [Open] takes the address that a person
// configured, which may be anywhere. Redirects are never followed, and a
// loopback address is never asked through a proxy.
//
// Everything that a server sends is bounded and may be wrong, late or missing;
// the kinds of failure are those of package engine.
package server
