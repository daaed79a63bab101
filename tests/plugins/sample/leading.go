package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Most published plugins listen only on the pod that holds a Lease. This is the part of client-go's leader
// election that shows from outside, without its dependencies: a Lease of 15 s, tried for every 2 s, given
// back at the end.
const (
	accountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount/"
	leaseSeconds     = 15
	retryPeriod      = 2 * time.Second
	microTime        = "2006-01-02T15:04:05.000000Z07:00"
)

type lease struct {
	Metadata map[string]any `json:"metadata"`
	Spec     leaseSpec      `json:"spec"`
}

type leaseSpec struct {
	HolderIdentity       string `json:"holderIdentity"`
	LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
	RenewTime            string `json:"renewTime"`
}

func (l lease) isFree(holder string) bool {
	renewed, err := time.Parse(time.RFC3339Nano, l.Spec.RenewTime)
	expires := renewed.Add(time.Duration(l.Spec.LeaseDurationSeconds) * time.Second)
	return l.Spec.HolderIdentity == "" || l.Spec.HolderIdentity == holder || err != nil || time.Now().After(expires)
}

// candidate is a pod that wants a Lease.
type candidate struct {
	client              *http.Client
	token, holder       string
	collection, address string
	namespace, name     string
}

// leader is this pod, where it leads.
var leader *candidate

// release gives the Lease back, if the pod holds it.
func release() {
	if leader == nil {
		return
	}
	status, found := leader.do(http.MethodGet, leader.address, nil)
	if status == http.StatusOK && found.Spec.HolderIdentity == leader.holder {
		version, _ := found.Metadata["resourceVersion"].(string)
		leader.do(http.MethodPut, leader.address, leader.of("", version))
	}
}

func newCandidate(name string) (*candidate, error) {
	read := func(file string) (string, error) {
		content, err := os.ReadFile(accountDirectory + file)
		return string(content), err
	}
	token, err := read("token")
	if err != nil {
		return nil, err
	}
	authority, err := read("ca.crt")
	if err != nil {
		return nil, err
	}
	namespace, err := read("namespace")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority))
	pod, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	collection := fmt.Sprintf("https://%s:%s/apis/coordination.k8s.io/v1/namespaces/%s/leases",
		os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"), namespace)
	return &candidate{
		client: &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		},
		token: token, holder: fmt.Sprintf("%s_%d", pod, os.Getpid()),
		collection: collection, address: collection + "/" + name,
		namespace: namespace, name: name,
	}, nil
}

// lead waits until the pod holds the Lease, and keeps it until the context ends.
func (c *candidate) lead(ctx context.Context) error {
	for !c.try() {
		select {
		case <-time.After(retryPeriod):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	go func() {
		for ctx.Err() == nil {
			time.Sleep(retryPeriod)
			if ctx.Err() == nil && !c.try() {
				fmt.Fprintln(os.Stderr, "the Lease is lost")
				os.Exit(1)
			}
		}
	}()
	return nil
}

// try takes or renews the Lease, and says whether the pod holds it now.
func (c *candidate) try() bool {
	status, found := c.do(http.MethodGet, c.address, nil)
	switch {
	case status == http.StatusNotFound:
		status, _ = c.do(http.MethodPost, c.collection, c.of(c.holder, ""))
		return status == http.StatusCreated
	case status != http.StatusOK || !found.isFree(c.holder):
		return false
	}
	version, _ := found.Metadata["resourceVersion"].(string)
	status, _ = c.do(http.MethodPut, c.address, c.of(c.holder, version))
	return status == http.StatusOK
}

func (c *candidate) of(holder, version string) *lease {
	metadata := map[string]any{"name": c.name, "namespace": c.namespace}
	if version != "" {
		metadata["resourceVersion"] = version
	}
	return &lease{metadata, leaseSpec{holder, leaseSeconds, time.Now().UTC().Format(microTime)}}
}

// do returns the status of a request, 0 where there is none.
func (c *candidate) do(method, address string, body *lease) (int, lease) {
	var found lease
	content, err := json.Marshal(body)
	if err != nil {
		return 0, found
	}
	request, err := http.NewRequest(method, address, bytes.NewReader(content))
	if err != nil {
		return 0, found
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0, found
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return 0, found
	}
	return response.StatusCode, found
}
