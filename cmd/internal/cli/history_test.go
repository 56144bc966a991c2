package cli

import (
	"testing"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func TestGather(t *testing.T) {
	got := gather([]control.Revision{
		{Version: "5", Author: "m on anna", Added: 1}, {Version: "4", Author: "m on anna", Added: 2, Removed: 1},
		{Version: "3", Added: 1}, {Version: "2", Added: 1}, {Version: "1", Author: "m on anna", Added: 1},
	})
	if len(got) != 4 || got[0].Version != "5" || got[0].Added != 3 || got[0].Removed != 1 || got[3].Version != "1" {
		t.Errorf("%+v", got)
	}
}
