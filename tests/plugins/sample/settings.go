package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The plugin library owns the flags, so everything of ours is set by environment variables.
const (
	nameVariable       = "SAMPLE_NAME"
	versionVariable    = "SAMPLE_VERSION"
	misbehaveVariable  = "SAMPLE_MISBEHAVE"
	startDelayVariable = "SAMPLE_START_DELAY"
	healthVariable     = "SAMPLE_HEALTH"
	listenVariable     = "SAMPLE_LISTEN"  // further TCP addresses, separated by commas
	socketsVariable    = "SAMPLE_SOCKETS" // further sockets beside its own, separated by commas
	fillVariable       = "SAMPLE_FILL"    // MB to write into SAMPLE_DIRECTORY
	directoryVariable  = "SAMPLE_DIRECTORY"
	allocateVariable   = "SAMPLE_ALLOCATE" // MB of memory to use
	leaseVariable      = "SAMPLE_LEASE"    // listen only on the pod that holds this Lease

	// So many times three capabilities of six bytes are more than 4 MB.
	verboseTimes = 250_000

	defaultName = "sample.cnpgplugin.dev"
	crashAfter  = time.Second
)

// What SAMPLE_MISBEHAVE may say.
const (
	behave            = "none"
	hang              = "hang"               // takes connections and answers no call
	neverListen       = "no-listen"          // runs and opens no port
	failingCapability = "failing-capability" // announces the WAL service, which then knows no method
	notReady          = "not-ready"          // says so when probed
	verbose           = "verbose"            // announces capabilities of more than 4 MB
	crash             = "crash"              // exits with 1 soon after it started
	restless          = "restless"           // reports another version at every call
)

// What SAMPLE_HEALTH may say; empty means that there is no health service at all.
const (
	healthServing    = "serving"
	healthNotServing = "not-serving"
)

type settings struct {
	name         string
	version      string
	misbehaviour string
	startDelay   time.Duration
	health       string
	listen       []string
	sockets      []string
	fill         int
	directory    string
	allocate     int
	lease        string
}

// readSettings takes the environment as a function, so that a wrong value is an error and no default.
func readSettings(getenv func(string) string) (settings, error) {
	or := func(variable, fallback string) string {
		if value := getenv(variable); value != "" {
			return value
		}
		return fallback
	}
	set := settings{
		name:         or(nameVariable, defaultName),
		version:      or(versionVariable, version),
		misbehaviour: or(misbehaveVariable, behave),
		health:       getenv(healthVariable),
		listen:       list(getenv(listenVariable)),
		sockets:      list(getenv(socketsVariable)),
		directory:    or(directoryVariable, "/tmp"),
		lease:        getenv(leaseVariable),
	}
	var err error
	if set.fill, err = strconv.Atoi(or(fillVariable, "0")); err != nil {
		return set, fmt.Errorf("%s: %w", fillVariable, err)
	}
	if set.allocate, err = strconv.Atoi(or(allocateVariable, "0")); err != nil {
		return set, fmt.Errorf("%s: %w", allocateVariable, err)
	}
	if set.startDelay, err = time.ParseDuration(or(startDelayVariable, "0s")); err != nil {
		return set, fmt.Errorf("%s: %w", startDelayVariable, err)
	}
	known := []string{behave, hang, neverListen, failingCapability, notReady, verbose, crash, restless}
	if err := oneOf(misbehaveVariable, set.misbehaviour, known); err != nil {
		return set, err
	}
	return set, oneOf(healthVariable, set.health, []string{"", healthServing, healthNotServing})
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func oneOf(variable, value string, known []string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is none of %s", variable, value, strings.Join(known, ", "))
}
