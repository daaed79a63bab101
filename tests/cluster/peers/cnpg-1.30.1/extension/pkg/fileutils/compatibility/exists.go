package compatibility

import "errors"

// ErrExistsNotFifo is what machinery v0.6.0 adds for CloudNativePG 1.30.1. This version's CreateFifo
// never returns it: it accepts any existing file, as it does for 1.30.0.
var ErrExistsNotFifo = errors.New("file exists but is not a FIFO")
