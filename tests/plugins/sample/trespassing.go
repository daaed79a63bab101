package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// socketDirectoryVariable is set by the operator: where CloudNativePG's pod has the sockets.
const socketDirectoryVariable = "CNPG_PLUGIN_SOCKET_DIR"

// used is what the process holds until it ends.
var used struct {
	listeners []net.Listener
	memory    []byte
}

// trespass takes what others in the same pod or on the same node may need, as far as it is asked to.
func trespass(set settings) error {
	for _, address := range set.listen {
		if err := hold("tcp", address); err != nil {
			return err
		}
	}
	for _, name := range set.sockets {
		path := filepath.Join(os.Getenv(socketDirectoryVariable), name)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := hold("unix", path); err != nil {
			return err
		}
	}
	if set.fill > 0 {
		content := make([]byte, set.fill<<20)
		if err := os.WriteFile(filepath.Join(set.directory, "filled"), content, 0o600); err != nil {
			return err
		}
	}
	used.memory = make([]byte, set.allocate<<20)
	for i := 0; i < len(used.memory); i += os.Getpagesize() {
		used.memory[i] = 1
	}
	return nil
}

// hold listens and takes connections, but says nothing.
func hold(network, address string) error {
	listener, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	used.listeners = append(used.listeners, listener)
	return nil
}
