// Package llama is the embedded engine: libllama in a child process.
//
// [New] gives the parent's half, an engine.Engine; [Run] is the child, this
// same program started again with a hidden command. A model file is parsed by
// native code that may crash, hang or be killed; nothing of that reaches the
// parent. The child has one model, says every 250 ms that it lives and how far
// it came, and ends when its parent does. The parent believes nothing it says:
// frames are bounded, text is checked again, a child that is silent or stuck is
// killed, and the next request starts another.
//
// Text of people is tokenized as text: no control token can come out of it,
// whatever it looks like. Control tokens come from the model's template alone.
// Prompts reuse what the context holds already, up to the first token that
// differs; a second conversation gets its place in memory back when it returns.
package llama
