package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
)

func (a *app) expireCommand() *cobra.Command {
	var all, daily string
	var req control.ExpireRequest
	c := &cobra.Command{
		Use:   "expire",
		Short: "Show or change how long old versions of pictures and the like are kept on this device",
		Long: `Show how long this device keeps old versions of what is no text, and what was freed. Texts keep
their whole history. The newest version of a file, one that waits for somebody to choose, and
what no other device is known to have are never freed. The daemon frees once a day.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, x := range []struct {
				text string
				to   **time.Duration
			}{{all, &req.All}, {daily, &req.Daily}} {
				if x.text == "" {
					continue
				}
				d, err := days(x.text)
				if err != nil {
					return err
				}
				*x.to = &d
			}
			var r control.ExpireReply
			if err := a.call(c.Context(), need{}, control.MethodExpire, req, &r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			fmt.Fprintf(a.stdout, "every version is kept for %s, one a day for %s, the newest always\n", inDays(r.All), inDays(r.Daily))
			if req.Now {
				fmt.Fprintf(a.stdout, "freed now: %d old versions, %s\n", r.Objects, size(r.Bytes))
			}
			fmt.Fprintln(a.stdout, "freed so far: "+freedLine(r.Freed))
			return nil
		},
	}
	c.Flags().StringVar(&all, "keep-all", "", "keep every version so long, such as 7d or 12h")
	c.Flags().StringVar(&daily, "keep-daily", "", "then keep the last one of each day so long, such as 90d")
	c.Flags().BoolVar(&req.Now, "now", false, "free what is kept no longer now")
	return c
}

func freedLine(f control.Freed) string {
	s := fmt.Sprintf("%d old versions, %s", f.Objects, size(f.Bytes))
	if f.Last != nil {
		s += ", looked at " + f.Last.Local().Format(time.DateTime)
	}
	return s
}

// days reads a time such as 7d, 12h or 30m.
func days(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(n, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	return 0, control.Errorf(control.Usage, "%q is not a time", s).WithHint("write it like 7d or 12h")
}

func inDays(d time.Duration) string {
	if n := d / (24 * time.Hour); n > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", n)
	}
	return d.String()
}
