package guardian

import (
	"os"
	"testing"
	"time"
)

func TestSilence(t *testing.T) {
	type step struct {
		looks  int
		passed time.Duration
		does   usage // cpu: used in each look
		heard  bool
	}
	const look = lookEvery
	idle, busy := usage{}, usage{cpu: 100 * time.Millisecond}
	for _, c := range []struct {
		name  string
		steps []step
		want  verdict
	}{
		{"beats every second", []step{{4, look, idle, true}, {4, look, busy, true}, {4, look, idle, true}}, wait},
		{"beats", []step{{15, look, idle, true}, {15, look, idle, true}}, wait},
		{"idle for long", []step{{20, look, idle, false}}, giveUp},
		{"idle, not yet", []step{{19, look, idle, false}}, wait},
		{"busy for as long", []step{{100, look, busy, false}}, wait},
		{"busy for ever", []step{{120, look, busy, false}}, giveUp},
		{"waits for a disk", []step{{100, look, usage{waits: true}, false}}, wait},
		{"a suspended machine", []step{{1, 8 * time.Hour, idle, false}}, wait},
		{"suspended again and again", []step{{1, time.Hour, idle, true}, {1, time.Hour, idle, true}, {1, time.Hour, idle, true}}, wait},
		{"under a debugger", []step{{1000, look, usage{traced: true}, false}}, wait},
		{"stopped", []step{{8, look, usage{stopped: true}, false}}, goOn},
		{"stopped, not yet", []step{{7, look, usage{stopped: true}, false}}, wait},
		{"stopped after each beat", []step{{7, look, usage{stopped: true}, true}, {7, look, usage{stopped: true}, true}}, wait},
		{"stopped again and again", []step{{20, look, usage{stopped: true}, false}}, giveUp},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := silence{limit: 30 * time.Second, idle: 5 * time.Second}
			var cpu time.Duration
			got, asked := wait, 0
			for _, st := range c.steps {
				for range st.looks {
					u := st.does
					cpu += u.cpu
					u.cpu = cpu
					got = s.look(st.passed, func() usage { asked++; return u })
				}
				if st.heard {
					s.heard()
				}
			}
			if got != c.want {
				t.Errorf("verdict %d, want %d", got, c.want)
			}
			if c.name == "beats every second" && asked > 0 {
				t.Errorf("its threads were looked at %d times", asked)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	before := usageOf(os.Getpid())
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
	}
	after := usageOf(os.Getpid())
	if !after.waits || after.stopped || after.traced || after.cpu <= before.cpu {
		t.Errorf("of this process: %+v, then %+v", before, after)
	}
}
