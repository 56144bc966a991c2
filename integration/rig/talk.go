package rig

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Talk is a program that a test talks to, line by line.
type Talk struct {
	Cmd *exec.Cmd
	In  io.WriteCloser
	Out *bufio.Reader

	// Patience is how long Ask and Hear wait for a line; 0: for Deadline.
	Patience time.Duration

	pipe *os.File
}

// talkEnds is how long a program may take to end once its input has.
const talkEnds = 10 * time.Second

// StartTalk starts a program. It ends with the test, if not before: its input is closed, and
// if that does not end it, it is killed. A program that is to end in order must not have the
// test's context, which ends before.
func StartTalk(t testing.TB, cmd *exec.Cmd) *Talk {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k := &Talk{Cmd: cmd, In: in, Out: bufio.NewReader(out), pipe: out.(*os.File)}
	t.Cleanup(func() {
		in.Close()
		if cmd.ProcessState == nil {
			kill := time.AfterFunc(talkEnds, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			kill.Stop()
		}
	})
	return k
}

// Ask says a line, and gives the line that is said to it, without its end.
func (k *Talk) Ask(line string) (string, error) {
	if _, err := fmt.Fprintln(k.In, line); err != nil {
		return "", err
	}
	return k.Hear()
}

// Hear waits for the next line, and gives it without its end.
func (k *Talk) Hear() (string, error) {
	if err := k.pipe.SetReadDeadline(time.Now().Add(cmp.Or(k.Patience, Deadline()))); err != nil {
		return "", err
	}
	line, err := k.Out.ReadString('\n')
	if err != nil {
		return line, err
	}
	return line[:len(line)-1], k.pipe.SetReadDeadline(time.Time{})
}
