"""What the operator serves over HTTP: probes for the kubelet, metrics for Prometheus.

Nothing here may read the cluster for any other purpose than to know who asks, or write to it.
"""
