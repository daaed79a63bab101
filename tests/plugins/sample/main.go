// Command sample-plugin is a CNPG-I plugin for tests: a true peer of CloudNativePG, built on the same
// library as every published plugin, that does nothing to a Cluster and misbehaves on request.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudnative-pg/cnpg-i-machinery/pkg/pluginhelper/http"
	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "0.0.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := command().ExecuteContext(ctx)
	release()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	set, err := readSettings(os.Getenv)
	root := &cobra.Command{
		Use:           "sample-plugin",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err != nil {
				return err
			}
			return beforeServing(cmd.Context(), set)
		},
	}
	serve := http.CreateMainCmd(identityService{settings: set}, services(set))
	serve.Use = "plugin"
	root.AddCommand(serve)
	// The library's own hook for logging would otherwise keep ours from running.
	cobra.EnableTraverseRunHooks = true
	return root
}

// beforeServing carries out what has to happen, or to fail, before the port is opened.
func beforeServing(ctx context.Context, set settings) error {
	select {
	case <-time.After(set.startDelay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := trespass(set); err != nil {
		return err
	}
	if set.lease != "" {
		var err error
		if leader, err = newCandidate(set.lease); err != nil {
			return err
		}
		if err = leader.lead(ctx); err != nil {
			return err
		}
	}
	switch set.misbehaviour {
	case neverListen:
		<-ctx.Done()
		return ctx.Err()
	case crash:
		time.AfterFunc(crashAfter, func() {
			fmt.Fprintln(os.Stderr, "crashing, as asked by", misbehaveVariable)
			os.Exit(1)
		})
	}
	return nil
}
