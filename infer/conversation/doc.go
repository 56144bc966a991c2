// Package conversation reads `.ask` files: conversations with a model, as text.
//
// A file is optional front matter, then turns under the headings `## You` and
// `## Model`; both may name their speaker in parentheses, and the model's also
// its state: `## Model (qwen3 on anna: answering)`. What stands before the first
// heading is a person's turn, so a file without headings is one question. A
// heading inside a code fence is code.
//
// Every text is a conversation: nothing is refused, and what was parsed says
// where in the text it stands. Positions are in bytes. The package also makes
// what is written into such a file unable to look like anything but an answer
// (see [Writer]). It touches no files.
package conversation
