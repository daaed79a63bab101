"""The known problems of plugins in CloudNativePG: how each is reproduced, named and remedied.

This table is what the documentation shows and what the tests try, word for word. Sources: §n is the
rank in our survey of the issues of CloudNativePG (C), its charts (H) and its plugins (B
barman-cloud, D dalibo, O opera); the others were found while this operator was built.
"""

from dataclasses import dataclass
from typing import Final

AVAILABLE: Final = "Available"
ACCEPTED: Final = "Accepted"
CERTIFIED: Final = "CertificatesReady"
SHAKEN: Final = "HandshakeSucceeded"
REGISTERED: Final = "Registered"

PATCH: Final = "kubectl patch cnpgplugin {name} -n cnpg-system --type merge -p "
CNPG: Final = "deployment/cnpg-controller-manager -n cnpg-system"


@dataclass(frozen=True)
class Row:
    """One known problem."""

    name: str
    """Of the resource in the test, and of the function in `faults.py` that reproduces it."""
    problem: str
    source: str
    reproduced: str
    condition: str
    """The condition that names it; empty where the operator remedies it before a condition could,
    so that only `diagnose` shows it, while the operator is paused."""
    reason: str
    """Of that condition."""
    says: str
    """A regular expression: what the condition's message says, or `diagnose`."""
    remedy: str
    """A command where it begins with `kubectl`, with `{name}` for the resource's name; else what
    the operator does, or what the user has to do."""
    automatic: bool = False
    """Whether the operator ends the problem, or the harm that it does, without a person."""
    namespace: str = "cnpg-system"
    test: str = ""
    """The end-to-end test that reproduces it, where `test_known_problems` does not."""
    succeeds: bool = False
    """Whether the plugin is Ready while the problem exists, and the command so exits with 0."""

    def __str__(self) -> str:
        return self.name

    @property
    def commands(self) -> tuple[str, ...]:
        """What a user runs to remedy it."""
        return (self.remedy.format(name=self.name),) if self.remedy.startswith("kubectl") else ()


ROWS: Final = (
    # CloudNativePG
    Row("misplaced", "The plugin is in a namespace without CNPG",
        "§1: B#554, C PR#11149", "a resource in another namespace",
        ACCEPTED, "CNPGNotFound", r"it runs in cnpg-system: create the resource there",
        "create the resource there", namespace="e2e-without-cnpg"),
    Row("unwatched", "CNPG does not watch its own namespace",
        "§1: H PR#833", "`WATCH_NAMESPACE=default` in CNPG's Deployment",
        ACCEPTED, "CNPGNotWatching", r"add cnpg-system to WATCH_NAMESPACE",
        f"kubectl set env {CNPG} WATCH_NAMESPACE=default,cnpg-system"),
    Row("proxied", "CNPG calls plugins through an HTTP proxy",
        "§7: C#9230, C PR#10921, B#1051", "`HTTPS_PROXY` in CNPG's Deployment",
        REGISTERED, "Registered", r"through the proxy of HTTPS_PROXY.*kubectl set env",
        f"kubectl set env {CNPG} NO_PROXY=10.0.0.0/8,{{name}}.cnpg-system.svc", succeeds=True),
    Row("left-alone", "An old CNPG keeps its connection until it restarts, which is forbidden",
        "§2: C#7024, in CNPG 1.24.0 to 1.24.3, 1.25.0 and 1.25.1",
        "another port with CNPG 1.25.0 and `restartPolicy: Never`; else the operator restarts CNPG",
        REGISTERED, "RestartForbidden", r"cnpg\.restartPolicy is Never: kubectl rollout restart",
        "kubectl rollout restart deployment cnpg-controller-manager -n cnpg-system",
        test="test_older_cnpg.py::"
        "test_restart_policy_never_reports_the_need_and_restarts_nothing"),
    Row("asleep", "CNPG does not run", "§13: H#939",
        "CNPG's Deployment is scaled to zero",
        REGISTERED, "CNPGUnavailable", r"has no available replica",
        f"kubectl scale {CNPG} --replicas=1"),
    Row("unpermitted", "CNPG keeps exiting, for its roles are those of another version",
        "§13: H#939, C#7887", "CNPG's ClusterRole without `secrets`, and another pod",
        REGISTERED, "CNPGUnavailable", r"container manager keeps exiting .*kubectl logs",
        "apply the manifest, or the chart, of CNPG's version"),
    Row("skewed", "The plugin's version does not work with CNPG's",
        "version skew: O#80, O#154, D#115, B PR#1025", "a plugin that says it is opera's 0.5.0",
        REGISTERED, "Registered", r"restores fail: .* Use version 0\.6\.0 or newer",
        "use the version that the message names", succeeds=True),
    # Order
    Row("early", "The plugin is created before its issuer",
        "§15: B#554", "an `issuerRef` whose Issuer is created later",
        CERTIFIED, "IssuerNotReady", r"Issuer e2e-late .*create it",
        "continues as soon as the Issuer is there", automatic=True),
    Row("rivalled", "Two resources have one plugin name",
        "§11: D#97, B#395", "a second resource with the `pluginName` of the first",
        ACCEPTED, "NameConflict", r"delete one of the two",
        "kubectl delete cnpgplugin {name}-elder -n cnpg-system"),
    Row("doubled", "Another Service has the plugin's name",
        "§15, found in tests: CNPG keeps one entry per name", "a Service with CNPG's label",
        ACCEPTED, "NameConflict", r"set spec\.takeOver\.serviceName to doubled-other",
        "kubectl delete service {name}-other -n cnpg-system"),
    Row("forgotten", "CNPG forgets a plugin when another Service of its name is deleted",
        "§4: B#196, C#7867; found in tests", "such a Service comes and goes unseen by the operator",
        "", "", r"touched so that CloudNativePG registers it again",
        "touches the Service, so that CNPG registers it again", automatic=True),
    # Certificates
    Row("mistrusted", "CNPG would not send a client certificate of this issuer",
        "§6: B#477, H#893", "an Issuer that signs with its root",
        CERTIFIED, "IncompatibleIssuer", r"clientTrust",
        PATCH + """'{{"spec":{{"tls":{{"clientTrust":"Root"}}}}}}'"""),
    Row("misnamed", "The server certificate is not valid for the Service",
        "§9: C#9218, H#842", "own Secrets, whose certificate names another Service",
        CERTIFIED, "NameNotCovered", r"misnamed",
        "issue the certificate with the name in the message"),
    Row("renewed", "Renewed certificates are rejected until the plugin has loaded them",
        "§2: C#7024, C#7947, B#678", "`kubectl cnpg-plugin renew`, while a Cluster uses the plugin",
        "", "", r"would apply Secret \S*renewed-\S+: issue a",
        "renews, waits for the pods, and only then changes what CNPG presents", automatic=True),
    Row("bereft", "A Secret with certificates was deleted",
        "§1.3: CNPG forgets a working plugin", "`kubectl delete secret`",
        "", "", r"would create Secret \S*bereft-trust",
        "writes it again", automatic=True),
    # The plugin's pods
    Row("pullless", "The image cannot be pulled", "§12, §14: B#391, B#456",
        "an image that does not exist",
        AVAILABLE, "ImagePullError", r"localhost/no-such-image:1.*spec\.image",
        PATCH + """'{{"spec":{{"image":"localhost/sample-plugin:0.1.0"}}}}'"""),
    Row("crashing", "A required variable is missing or wrong", "§14: B#299, B#503",
        "a variable with a value that the plugin refuses",
        AVAILABLE, "CrashLoop", r"exits with code 1.*kubectl logs crashing-\S+ -n cnpg-system",
        "correct what the message quotes from the log"),
    Row("unmounted", "A volume's ConfigMap does not exist", "found in tests",
        "a volume of a ConfigMap that is missing",
        AVAILABLE, "MountFailed", r'configmap "unmounted-settings" not found',
        "kubectl create configmap {name}-settings -n cnpg-system"),
    Row("rationed", "A quota refuses the plugin's pod", "found in tests",
        "a ResourceQuota",
        AVAILABLE, "PodsRefused", r"exceeded quota: e2e-rationed",
        "kubectl delete resourcequota e2e-{name} -n cnpg-system"),
    Row("homeless", "No node fits the plugin's pod", "§12: H#704",
        "a `nodeSelector` that no node has",
        AVAILABLE, "Unschedulable", r"cannot be scheduled",
        PATCH + """'{{"spec":{{"nodeSelector":null}}}}'"""),
    Row("led", "All replicas but one are never ready", "§5: B#419, B#620, H#776",
        "two replicas of a plugin that listens only as the leader",
        AVAILABLE, "Available", r"standby, which waits for that Lease",
        "counts standbys as available", automatic=True, succeeds=True),
    Row("deadlocked", "A rolling update waits for a Lease for ever",
        "§5: B#419, B PR#1105", "the strategy `RollingUpdate` for such a plugin",
        AVAILABLE, "NotListening", r"waits for Lease \S+, .*set spec\.strategy\.type to Recreate",
        PATCH + """'{{"spec":{{"strategy":{{"type":"Recreate"}}}}}}'"""),
    Row("copied", "Two plugins share the name of a leader election",
        "§11: B#395, B PR#593", "two plugins with one Lease",
        AVAILABLE, "NotListening", r"held by CNPGPlugin copied-elder",
        "give one of them another leader-election name"),
    Row("unapproved", "A change of the plugin may roll databases",
        "§3: B#598, D PR#142", "another image, with `upgradePolicy: Manual`",
        AVAILABLE, "AwaitingApproval", r"kubectl annotate cnpgplugin unapproved",
        "kubectl cnpg-plugin approve {name} -n cnpg-system"),
    Row("upgraded", "Clusters show the previous version after an upgrade",
        "§3: C#8755, B#584", "another image, while a Cluster uses the plugin",
        "", "", r"would apply Deployment \S*upgraded: .*image",
        "touches the Service, so that CNPG reads the version again", automatic=True),
    # The handshake
    Row("impostor", "The plugin answers under another name", "§4: B#655",
        "an image with another plugin",
        SHAKEN, "IdentityMismatch", r"other\.example\.com",
        "correct the image or the name"),
    Row("fenced", "The network drops connections to the plugin", "§8: B#424, H#101",
        "a packet filter before the plugin's port",
        SHAKEN, "Unreachable", r"fenced\.cnpg-system\.svc",
        "allow connections from CNPG and from the operator: `networkPolicy`"),
    # What others do to the objects
    Row("unlabelled", "Another party removes CNPG's label from the Service",
        "found in tests: CNPG keeps or forgets the plugin, by its version",
        "`kubectl label service`",
        "", "", r"would apply Service \S*unlabelled",
        "restores it", automatic=True),
    Row("serviceless", "Another party deletes the Service", "§4: O#18", "`kubectl delete service`",
        "", "", r"would create Service \S*serviceless",
        "creates and announces it again", automatic=True),
    Row("scaled", "Another party scales the plugin to zero", "found in tests", "`kubectl scale`",
        "", "", r"would apply Deployment \S*scaled: spec\.replicas 0 → 1",
        "restores the replicas", automatic=True),
    Row("paused", "Another party pauses the plugin's Deployment", "found in tests",
        "`kubectl rollout pause`",
        "", "", r"would apply Deployment \S*paused: .*spec\.paused",
        "resumes it", automatic=True),
    Row("webhooked", "The API server refuses the operator's write", "found in tests",
        "an admission webhook without a server",
        AVAILABLE, "ClusterError", r"failed calling webhook",
        "kubectl delete validatingwebhookconfiguration e2e-{name}"),
    # Deletion
    Row("used", "A plugin that is used is deleted",
        "§6, order rule: an absent plugin stops Clusters", "`kubectl delete cnpgplugin`",
        ACCEPTED, "InUse", r"default/e2e-used",
        "kubectl delete cluster e2e-{name} -n default"),
    Row("lingering", "CNPG's finalizer blocks the deletion of the Service",
        "§10: C#10535, C PR#10940", "deletion while CNPG does not run",
        "", "", r"would patch Service \S*lingering: remove CloudNativePG's finalizer",
        "removes the finalizer where no CNPG does", automatic=True),
    # Sidecars
    Row("intruding", "A sidecar keeps CNPG from starting",
        "found in tests: a sidecar on port 8080", "a sidecar that listens on 8080",
        AVAILABLE, "CNPGBlocked", r"beside it",
        "removes the sidecar, so that CNPG starts", automatic=True),
    Row("volumeless", "A sidecar's volume cannot be mounted", "found in tests",
        "a volume of a ConfigMap that is missing",
        AVAILABLE, "MountFailed", r'configmap "volumeless-settings" not found',
        "removes the sidecar, so that CNPG starts", automatic=True),
    Row("quartered", "A quota refuses CNPG's pod because of a sidecar", "found in tests",
        "a ResourceQuota",
        AVAILABLE, "PodsRefused", r"exceeded quota",
        "removes the sidecar, so that CNPG starts", automatic=True),
    Row("stalled", "CNPG's Deployment is paused", "found in tests",
        "`kubectl rollout pause`",
        AVAILABLE, "SidecarPending", r"is paused",
        f"kubectl rollout resume {CNPG}"),
    Row("replaced", "CNPG's Deployment is replaced, and loses its sidecars",
        "§2.4: Argo CD `Replace=true`, `kubectl replace`", "`kubectl replace`",
        "", "", r"Sidecar +not in the Deployment",
        "adds them again", automatic=True),
    Row("moving", "A plugin that is used changes its mode", "found in tests",
        "`mode: Sidecar`, and back",
        "", "", r"Available +Unknown SidecarPending",
        "moves it without a gap", automatic=True),
)  # fmt: skip
"""Every problem, in the order of the documentation."""
