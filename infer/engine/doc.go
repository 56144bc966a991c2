// Package engine is what sheaf asks of a language model: text in, tokens out.
//
// An [Engine] is a way to reach models (a server on this machine, a process of
// our own); a [Session] is one model of it, opened. Engines know nothing of
// files, folders or conversations, and nothing that a model says is executed,
// parsed for commands or followed anywhere: it is handed to the caller as text.
//
// Every engine keeps these promises:
//   - pieces of an answer are valid UTF-8, never a part of a character and never
//     a NUL, so that a text stays a text after each of them;
//   - text inside a turn is only text: nothing in it can end the turn or start
//     another, as far as the engine decides (a server does its own tokenizing);
//   - a done context ends a call within 50 ms, in the queue, in the prompt or in
//     the answer;
//   - an error is one of the kinds below ([Error]), the context's error, or
//     whatever the caller's own function returned;
//   - nothing leaves this machine unless a person configured the address.
//
// The sub-packages are the engines: server (Ollama and everything that speaks
// OpenAI's protocol) and llama (libllama in a child process). enginetest has a
// scripted engine and the tests that all of them pass.
package engine
