// Command fetch gets the library, the model and the server that tests run for real.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/sheaf-fs/sheaf/infer/model"
	"github.com/sheaf-fs/sheaf/infer/model/modeltest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := modeltest.Dir()
	if err != nil {
		return err
	}
	s := model.Open(dir)
	missing, err := s.Default()
	if err != nil {
		return err
	}
	for _, e := range missing {
		fmt.Printf("fetching %s (%s, %d MB, %s) into %s\n", e.Title, e.License, e.Download/1_000_000, e.Source, dir)
		if err := s.Fetch(ctx, e.ID, nil); err != nil {
			return err
		}
	}
	return modeltest.FetchServer(ctx)
}
