package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"time"
)

// patience ends connections of clients that neither speak nor leave.
const patience = 10 * time.Second

// offer is one server to run; the texts are PEM files as a plugin gets them mounted.
type offer struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	Clients     string `json:"clients"`
}

// place is where the server listens, or why it does not.
type place struct {
	Port  int    `json:"port"`
	Error string `json:"error"`
}

// serve starts a server that runs until the program ends.
func serve(offered offer) place {
	config, err := serverConfig(offered)
	if err != nil {
		return place{Error: err.Error()}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return place{Error: err.Error()}
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go greet(tls.Server(connection, config))
		}
	}()
	return place{Port: listener.Addr().(*net.TCPAddr).Port}
}

// serverConfig is that of cnpg-i-machinery 0.4.2 (pkg/pluginhelper/http/server.go), which every
// published plugin in Go is built on, with the protocol that grpc-go adds to it.
func serverConfig(offered offer) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(offered.Clients)) {
		return nil, errors.New("failed to parse client CA certificate")
	}
	pair, err := tls.X509KeyPair([]byte(offered.Certificate), []byte(offered.Key))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		ClientAuth:   tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2"},
	}, nil
}

// greet sends the settings as grpc-go's server does, right after TLS, and waits for the client to go.
func greet(session *tls.Conn) {
	defer session.Close()
	if session.SetDeadline(time.Now().Add(patience)) != nil || session.Handshake() != nil {
		return
	}
	if _, err := io.WriteString(session, "\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, session)
}
