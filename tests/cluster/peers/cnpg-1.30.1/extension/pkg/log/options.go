package log

// ConfigureOption is what machinery v0.6.0 adds for CloudNativePG 1.30.1. This version ignores it: as
// in 1.30.0, the instance manager samples its log.
type ConfigureOption struct{}

// WithDisabledSampling returns an option without effect.
func WithDisabledSampling() ConfigureOption {
	return ConfigureOption{}
}
