package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The stages at which a connection can fail.
const (
	stageLoad      = "load"
	stageDial      = "dial"
	stageHandshake = "handshake"
	stageRead      = "read"
)

// preface is what an HTTP/2 client says first, with empty settings (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// grace is how long the server may speak first. grpc-go writes its preface at once; a server that has
// refused the client's certificate by then answers what it does not read with a reset, which can
// overtake its alert. Waiting changes no verdict, only whether its reason arrives.
const grace = 250 * time.Millisecond

// question is one connection to judge; the texts are PEM files as they are in Secrets.
type question struct {
	Address       string `json:"address"`
	ServerName    string `json:"serverName"`
	Trust         string `json:"trust"`
	Certificate   string `json:"certificate"`
	Key           string `json:"key"`
	TimeoutMillis int    `json:"timeoutMillis"`
}

// verdict says whether CloudNativePG could talk to the server, else what failed at which stage.
type verdict struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
	Stage string `json:"stage"`
	// Nanos is the time it took, without the way of the question and the verdict through the pipes.
	Nanos int64 `json:"nanos"`
}

// judge connects as CloudNativePG does.
func judge(asked question) verdict {
	begun := time.Now()
	stage, err := connect(asked)
	found := verdict{OK: err == nil, Stage: stage, Nanos: time.Since(begun).Nanoseconds()}
	if err != nil {
		found.Error = err.Error()
	}
	return found
}

// connect returns the stage that was reached, with the error that ended it.
func connect(asked question) (string, error) {
	config, err := clientConfig(asked)
	if err != nil {
		return stageLoad, err
	}
	deadline := time.Now().Add(time.Duration(asked.TimeoutMillis) * time.Millisecond)
	dialer := net.Dialer{Deadline: deadline}
	connection, err := dialer.Dial("tcp", asked.Address)
	if err != nil {
		return stageDial, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(deadline); err != nil {
		return stageDial, err
	}
	session := tls.Client(connection, config)
	if err := session.Handshake(); err != nil {
		return stageHandshake, err
	}
	// crypto/tls itself goes on where the server has no ALPN; grpc-go does not
	// (credentials/tls.go, ClientHandshake).
	if session.ConnectionState().NegotiatedProtocol == "" {
		return stageHandshake, errors.New("credentials: cannot check peer: missing selected ALPN property")
	}
	// With TLS 1.3 the client is done before the server has looked at its certificate: whether that is
	// refused shows on the first read only.
	return stageRead, readSettings(session)
}

// clientConfig is that of CloudNativePG 1.30.0 (internal/controller/plugin_controller.go), with the
// protocol that grpc-go adds to it (credentials/tls.go, NewTLS).
func clientConfig(asked question) (*tls.Config, error) {
	pair, err := tls.X509KeyPair([]byte(asked.Certificate), []byte(asked.Key))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(asked.Trust)) {
		return nil, errors.New("no valid certificate in the server Secret")
	}
	return &tls.Config{
		ServerName:   asked.ServerName,
		RootCAs:      pool,
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2"},
	}, nil
}

// readSettings waits for the server's first frame, which has to be its settings
// (grpc-go, internal/transport/http2_client.go, readServerPreface).
func readSettings(session *tls.Conn) error {
	speak := time.AfterFunc(grace, func() { _, _ = io.WriteString(session, preface) })
	defer speak.Stop()
	var header [9]byte
	if _, err := io.ReadFull(session, header[:]); err != nil {
		return err
	}
	const settings = 4
	stream := [4]byte(header[5:])
	if header[3] != settings || stream != [4]byte{} {
		return fmt.Errorf("initial http2 frame from server is not a settings frame: type %d", header[3])
	}
	return nil
}
