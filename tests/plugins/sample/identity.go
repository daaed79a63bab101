package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloudnative-pg/cnpg-i/pkg/identity"
	"google.golang.org/grpc/peer"
)

// identityService tells who the plugin is and what it offers.
type identityService struct {
	identity.UnimplementedIdentityServer

	settings settings
}

// hangIfAsked never answers a remote caller. The library asks for the metadata itself before it
// listens; that call comes from no peer.
func (s identityService) hangIfAsked(ctx context.Context) {
	if _, remote := peer.FromContext(ctx); remote && s.settings.misbehaviour == hang {
		<-ctx.Done()
	}
}

func (s identityService) version() string {
	if s.settings.misbehaviour == restless {
		return fmt.Sprintf("%s-%d", s.settings.version, time.Now().UnixNano())
	}
	return s.settings.version
}

func (s identityService) GetPluginMetadata(
	ctx context.Context,
	_ *identity.GetPluginMetadataRequest,
) (*identity.GetPluginMetadataResponse, error) {
	s.hangIfAsked(ctx)
	return &identity.GetPluginMetadataResponse{
		Name:          s.settings.name,
		Version:       s.version(),
		DisplayName:   "Sample plugin",
		Description:   "Does nothing to a Cluster; for tests",
		ProjectUrl:    "https://cnpgplugin.dev",
		RepositoryUrl: "https://cnpgplugin.dev/source",
		License:       "Apache-2.0",
		LicenseUrl:    "https://www.apache.org/licenses/LICENSE-2.0",
		Maturity:      "alpha",
		Vendor:        "cnpgplugin.dev",
	}, nil
}

func (s identityService) GetPluginCapabilities(
	ctx context.Context,
	_ *identity.GetPluginCapabilitiesRequest,
) (*identity.GetPluginCapabilitiesResponse, error) {
	s.hangIfAsked(ctx)
	offered := []identity.PluginCapability_Service_Type{
		identity.PluginCapability_Service_TYPE_OPERATOR_SERVICE,
		identity.PluginCapability_Service_TYPE_LIFECYCLE_SERVICE,
		identity.PluginCapability_Service_TYPE_RECONCILER_HOOKS,
	}
	if s.settings.misbehaviour == failingCapability {
		offered = append(offered, identity.PluginCapability_Service_TYPE_WAL_SERVICE)
	}
	if s.settings.misbehaviour == verbose {
		offered = slices.Repeat(offered, verboseTimes)
	}
	response := &identity.GetPluginCapabilitiesResponse{}
	for _, service := range offered {
		response.Capabilities = append(response.Capabilities, &identity.PluginCapability{
			Type: &identity.PluginCapability_Service_{
				Service: &identity.PluginCapability_Service{Type: service},
			},
		})
	}
	return response, nil
}

func (s identityService) Probe(
	ctx context.Context,
	_ *identity.ProbeRequest,
) (*identity.ProbeResponse, error) {
	s.hangIfAsked(ctx)
	return &identity.ProbeResponse{Ready: s.settings.misbehaviour != notReady}, nil
}
