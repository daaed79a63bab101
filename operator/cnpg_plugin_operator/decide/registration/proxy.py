"""Whether CloudNativePG calls a plugin through an HTTP proxy, and what to do about it.

gRPC for Go takes the proxy from the environment, by the rules of golang.org/x/net/http/httpproxy. A
proxy outside the cluster cannot reach a Service, so Clusters with the plugin are not reconciled
(cloudnative-pg #9230). It is advice as long as no Cluster is blocked, for a proxy may be able to.
"""

from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.cnpg_versions import dials_namespace, parse_version


def describe_proxy(cnpg: CNPGFacts, service: str, port: str) -> str:
    """Say that CloudNativePG calls a Service through a proxy, and the remedy; empty if not."""
    version = parse_version(cnpg.version)
    full = version is None or dials_namespace(version)
    host = f"{service}.{cnpg.namespace}.svc" if full else service
    if not cnpg.proxy or any(_excludes(each, host, port) for each in cnpg.unproxied):
        return ""
    remedy = "spec.config.env of its Subscription"
    if not cnpg.olm:
        value = ",".join((*cnpg.unproxied, host))
        remedy = (
            f"its environment: kubectl set env deployment/{cnpg.deployment} -n {cnpg.namespace} "
            f"NO_PROXY={value}"
        )
    return (
        f"Deployment {cnpg.deployment} calls the plugin through the proxy of {cnpg.proxy}, which "
        f"usually cannot reach it. Add {host} to NO_PROXY in {remedy}"
    )


def _excludes(entry: str, host: str, port: str) -> bool:
    """Whether an entry of NO_PROXY excludes a host; addresses and networks exclude no name."""
    name, _, only = entry.lower().partition(":")
    if only not in ("", port):
        return False
    if name.startswith(("*.", ".")):
        return host.endswith(name.removeprefix("*"))
    return bool(name) and (name in ("*", host) or host.endswith(f".{name}"))
