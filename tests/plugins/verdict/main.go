// Command verdict tells what Go's TLS makes of a connection, with the settings of CloudNativePG on one
// end and of every CNPG-I plugin on the other. Tests hold the operator's own verdict against it: what
// is proven then is equality with the real library, not with somebody's notes about it.
//
// It needs the standard library alone, so that it builds in seconds and without a network.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// maxLine is more than all the PEM files of one request; bufio's own limit is less than that.
const maxLine = 16 << 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

// run answers requests, one JSON object to a line, until the input ends: the program lives exactly as
// long as whoever started it, even if that one is killed.
func run(arguments []string) error {
	mode := ""
	if len(arguments) == 1 {
		mode = arguments[0]
	}
	switch mode {
	case "judge":
		return answer(judge)
	case "serve":
		return answer(serve)
	default:
		return fmt.Errorf("usage: verdict judge|serve, requests on standard input")
	}
}

// answer reads requests and writes what respond says, in their order.
func answer[Request, Response any](respond func(Request) Response) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	responses := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var request Request
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if err := responses.Encode(respond(request)); err != nil {
			return fmt.Errorf("response: %w", err)
		}
	}
	return lines.Err()
}
