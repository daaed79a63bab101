package main

import (
	"context"

	"github.com/cloudnative-pg/cnpg-i-machinery/pkg/pluginhelper/http"
	"github.com/cloudnative-pg/cnpg-i/pkg/lifecycle"
	"github.com/cloudnative-pg/cnpg-i/pkg/operator"
	"github.com/cloudnative-pg/cnpg-i/pkg/reconciler"
	"github.com/cloudnative-pg/cnpg-i/pkg/wal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// services adds everything but the identity service to the server.
func services(set settings) http.ServerEnricher {
	return func(server *grpc.Server) error {
		operator.RegisterOperatorServer(server, operatorService{})
		lifecycle.RegisterOperatorLifecycleServer(server, lifecycleService{})
		reconciler.RegisterReconcilerHooksServer(server, reconcilerService{})
		if set.misbehaviour == failingCapability {
			wal.RegisterWALServer(server, wal.UnimplementedWALServer{})
		}
		if set.health != "" {
			grpc_health_v1.RegisterHealthServer(server, healthService(set.health))
		}
		return nil
	}
}

func healthService(state string) grpc_health_v1.HealthServer {
	service := health.NewServer()
	if state == healthNotServing {
		service.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	}
	return service
}

// operatorService is asked about Clusters by the admission webhooks; it agrees and changes nothing.
type operatorService struct {
	operator.UnimplementedOperatorServer
}

func (operatorService) GetCapabilities(
	context.Context,
	*operator.OperatorCapabilitiesRequest,
) (*operator.OperatorCapabilitiesResult, error) {
	result := &operator.OperatorCapabilitiesResult{}
	for _, call := range []operator.OperatorCapability_RPC_Type{
		operator.OperatorCapability_RPC_TYPE_VALIDATE_CLUSTER_CREATE,
		operator.OperatorCapability_RPC_TYPE_VALIDATE_CLUSTER_CHANGE,
		operator.OperatorCapability_RPC_TYPE_MUTATE_CLUSTER,
	} {
		result.Capabilities = append(result.Capabilities, &operator.OperatorCapability{
			Type: &operator.OperatorCapability_Rpc{
				Rpc: &operator.OperatorCapability_RPC{Type: call},
			},
		})
	}
	return result, nil
}

func (operatorService) ValidateClusterCreate(
	context.Context,
	*operator.OperatorValidateClusterCreateRequest,
) (*operator.OperatorValidateClusterCreateResult, error) {
	return &operator.OperatorValidateClusterCreateResult{}, nil
}

func (operatorService) ValidateClusterChange(
	context.Context,
	*operator.OperatorValidateClusterChangeRequest,
) (*operator.OperatorValidateClusterChangeResult, error) {
	return &operator.OperatorValidateClusterChangeResult{}, nil
}

func (operatorService) MutateCluster(
	context.Context,
	*operator.OperatorMutateClusterRequest,
) (*operator.OperatorMutateClusterResult, error) {
	return &operator.OperatorMutateClusterResult{}, nil
}

// lifecycleService is shown every instance pod before it is created and leaves it as it is.
type lifecycleService struct {
	lifecycle.UnimplementedOperatorLifecycleServer
}

func (lifecycleService) GetCapabilities(
	context.Context,
	*lifecycle.OperatorLifecycleCapabilitiesRequest,
) (*lifecycle.OperatorLifecycleCapabilitiesResponse, error) {
	pods := &lifecycle.OperatorLifecycleCapabilities{Kind: "Pod"}
	for _, operation := range []lifecycle.OperatorOperationType_Type{
		lifecycle.OperatorOperationType_TYPE_CREATE,
		lifecycle.OperatorOperationType_TYPE_EVALUATE,
	} {
		pods.OperationTypes = append(
			pods.OperationTypes,
			&lifecycle.OperatorOperationType{Type: operation},
		)
	}
	return &lifecycle.OperatorLifecycleCapabilitiesResponse{
		LifecycleCapabilities: []*lifecycle.OperatorLifecycleCapabilities{pods},
	}, nil
}

func (lifecycleService) LifecycleHook(
	context.Context,
	*lifecycle.OperatorLifecycleRequest,
) (*lifecycle.OperatorLifecycleResponse, error) {
	return &lifecycle.OperatorLifecycleResponse{}, nil
}

// reconcilerService is called around every reconciliation of a Cluster that names the plugin.
type reconcilerService struct {
	reconciler.UnimplementedReconcilerHooksServer
}

func (reconcilerService) GetCapabilities(
	context.Context,
	*reconciler.ReconcilerHooksCapabilitiesRequest,
) (*reconciler.ReconcilerHooksCapabilitiesResult, error) {
	return &reconciler.ReconcilerHooksCapabilitiesResult{
		ReconcilerCapabilities: []*reconciler.ReconcilerHooksCapability{
			{Kind: reconciler.ReconcilerHooksCapability_KIND_CLUSTER},
		},
	}, nil
}

func (reconcilerService) Pre(
	context.Context,
	*reconciler.ReconcilerHooksRequest,
) (*reconciler.ReconcilerHooksResult, error) {
	return &reconciler.ReconcilerHooksResult{
		Behavior: reconciler.ReconcilerHooksResult_BEHAVIOR_CONTINUE,
	}, nil
}

func (reconcilerService) Post(
	context.Context,
	*reconciler.ReconcilerHooksRequest,
) (*reconciler.ReconcilerHooksResult, error) {
	return &reconciler.ReconcilerHooksResult{
		Behavior: reconciler.ReconcilerHooksResult_BEHAVIOR_CONTINUE,
	}, nil
}
