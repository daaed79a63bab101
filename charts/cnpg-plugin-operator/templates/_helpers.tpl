{{/* Name of the application. */}}
{{- define "cnpg-plugin-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Name of the objects: the release's name, followed by the chart's unless it contains that already. */}}
{{- define "cnpg-plugin-operator.fullname" -}}
{{- $name := include "cnpg-plugin-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Namespace of the operator's own objects. */}}
{{- define "cnpg-plugin-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Name of cluster-wide objects: two releases in different namespaces must not conflict. */}}
{{- define "cnpg-plugin-operator.clusterName" -}}
{{- $fullname := include "cnpg-plugin-operator.fullname" . }}
{{- $namespace := include "cnpg-plugin-operator.namespace" . }}
{{- if eq $namespace $fullname }}
{{- $fullname }}
{{- else }}
{{- printf "%s:%s" $namespace $fullname }}
{{- end }}
{{- end }}

{{/* Namespaces of the Clusters of an operator without ClusterRoles, separated by commas. */}}
{{- define "cnpg-plugin-operator.clusterNamespaces" -}}
{{- concat .Values.cnpg.namespaces .Values.rbac.clusterNamespaces | uniq | join "," }}
{{- end }}

{{/* Prefix of the ClusterRoles that each allow the operator to bind one ClusterRole. */}}
{{- define "cnpg-plugin-operator.grantPrefix" -}}
{{- include "cnpg-plugin-operator.clusterName" . }}-allows-
{{- end }}

{{/* Name of the ClusterRole that allows the operator to bind the ClusterRole `role`. The operator
builds the same name. */}}
{{- define "cnpg-plugin-operator.grantName" -}}
{{- $name := printf "%s%s" (include "cnpg-plugin-operator.grantPrefix" .root) .role }}
{{- if gt (len $name) 253 }}
{{- $name = printf "%s-%s" (trunc 244 $name) (sha256sum $name | trunc 8) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* Selector of the Deployment's pods; never changes within a release. */}}
{{- define "cnpg-plugin-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cnpg-plugin-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The operator's own pods, as the operator reads them: namespace/label=value,… */}}
{{- define "cnpg-plugin-operator.ownPods" -}}
{{- $labels := include "cnpg-plugin-operator.selectorLabels" . | fromYaml }}
{{- printf "%s/%s" (include "cnpg-plugin-operator.namespace" .) (include "cnpg-plugin-operator.pairs" $labels) }}
{{- end }}

{{/* A map as label=value,… */}}
{{- define "cnpg-plugin-operator.pairs" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "cnpg-plugin-operator.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "cnpg-plugin-operator" }}
{{- $selector := include "cnpg-plugin-operator.selectorLabels" . | fromYaml }}
{{- merge dict $selector $own .Values.commonLabels | toYaml }}
{{- end }}

{{/* Fields of the operator's pod that have no other place; none is set by default. */}}
{{- define "cnpg-plugin-operator.podFields" -}}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $volumes := .Values.extraVolumes }}
{{- if .Values.metrics.secure.enabled }}
{{- $secret := dict "secretName" (include "cnpg-plugin-operator.metricsSecret" .) }}
{{- $volumes = append $volumes (dict "name" "metrics-certificate" "secret" $secret) }}
{{- end }}
{{- with $volumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The nodes that the operator's image may run on. */}}
{{- define "cnpg-plugin-operator.nodes" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* `annotations:` with the common annotations and those in `own`; empty if there are none. */}}
{{- define "cnpg-plugin-operator.annotations" -}}
{{- with merge dict (.own | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Name of the operator's account. */}}
{{- define "cnpg-plugin-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "cnpg-plugin-operator.fullname" .) .Values.serviceAccount.name }}
{{- else if and .Values.rbac.create (eq (default "default" .Values.serviceAccount.name) "default") }}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty or default: the account default, and so every pod of the namespace that names no account, would get the operator's rights. Set serviceAccount.name" }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The operator's image, by digest if one is set. */}}
{{- define "cnpg-plugin-operator.image" -}}
{{- if not .Values.image.repository }}
{{- fail "image.repository is empty: set it to where you pushed the operator's image, for example --set image.repository=registry.example.com/cnpg-plugin-operator (docs/install/index.md explains how to build it)" }}
{{- end }}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry }}
{{- $image := .Values.image.repository }}
{{- if $registry }}
{{- $image = printf "%s/%s" $registry $image }}
{{- end }}
{{- $image = printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) }}
{{- if .Values.image.digest }}
{{- $image = printf "%s@%s" $image .Values.image.digest }}
{{- end }}
{{- $image }}
{{- end }}

{{/* `imagePullSecrets:` of a pod, from names or objects. */}}
{{- define "cnpg-plugin-operator.imagePullSecrets" -}}
{{- $secrets := list }}
{{- range concat ((.Values.global).imagePullSecrets | default list) .Values.imagePullSecrets }}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with $secrets | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The allowed issuers, each as Kind.group/name, or *. */}}
{{- define "cnpg-plugin-operator.allowedIssuers" -}}
{{- $issuers := list }}
{{- if kindIs "string" .Values.allowedIssuers }}
{{- $issuers = list .Values.allowedIssuers }}
{{- else }}
{{- range .Values.allowedIssuers }}
{{- $issuers = append $issuers (printf "%s.%s/%s" .kind (default "cert-manager.io" .group) .name) }}
{{- end }}
{{- end }}
{{- join "," $issuers }}
{{- end }}

{{/* The names of the same Secrets, separated by commas. */}}
{{- define "cnpg-plugin-operator.imagePullSecretNames" -}}
{{- $names := list }}
{{- range concat ((.Values.global).imagePullSecrets | default list) .Values.imagePullSecrets }}
{{- $names = append $names (kindIs "string" . | ternary . (dig "name" "" (kindIs "map" . | ternary . dict))) }}
{{- end }}
{{- $names | uniq | join "," }}
{{- end }}

{{/* Namespace of `plugin`, an entry of the values. */}}
{{- define "cnpg-plugin-operator.pluginNamespace" -}}
{{- $namespace := default (first .root.Values.cnpg.namespaces) .plugin.namespace }}
{{- if not (has $namespace .root.Values.cnpg.namespaces) }}
{{- fail (printf "plugins: %s is in the namespace %s, which cnpg.namespaces does not list" .plugin.name $namespace) }}
{{- end }}
{{- $namespace }}
{{- end }}

{{/* Name of the Secret that CloudNativePG presents to `plugin`, an entry of the values. The operator
builds the same name. */}}
{{- define "cnpg-plugin-operator.clientSecret" -}}
{{- $tls := .plugin.spec.tls | default dict }}
{{- $reference := "null" }}
{{- $provider := default .root.Values.defaults.tlsProvider $tls.provider }}
{{- with $tls.issuerRef }}
{{- $group := default "cert-manager.io" .group }}
{{- $reference = printf "{\"group\": %q, \"kind\": %q, \"name\": %q}" $group (default "Issuer" .kind) .name }}
{{- $provider = default "CertManager" $tls.provider }}
{{- end }}
{{- $issuer := printf "[%q, %s, %q]" $provider $reference (default "Namespace" $tls.issuerScope) }}
{{- if $tls.secrets }}
{{- $tls.secrets.client }}
{{- else if eq $issuer "[\"CertManager\", null, \"Namespace\"]" }}
{{- printf "%s-client-tls" .plugin.name }}
{{- else }}
{{- printf "%s-%s-client-tls" .plugin.name (sha256sum $issuer | trunc 6) }}
{{- end }}
{{- end }}

{{/* Name of the Secret with the certificate of /metrics. */}}
{{- define "cnpg-plugin-operator.metricsSecret" -}}
{{- with .Values.metrics.secure }}
{{- if eq (empty .secretName) (empty .issuerRef.name) }}
{{- fail "metrics.secure.enabled needs a certificate: set either metrics.secure.secretName or metrics.secure.issuerRef.name" }}
{{- end }}
{{- default (printf "%s-metrics-tls" (include "cnpg-plugin-operator.fullname" $)) .secretName }}
{{- end }}
{{- end }}

{{/* Name of the Service by which the certificate of /metrics is verified. */}}
{{- define "cnpg-plugin-operator.metricsServerName" -}}
{{- printf "%s.%s.svc" (include "cnpg-plugin-operator.fullname" .) (include "cnpg-plugin-operator.namespace" .) }}
{{- end }}

{{/* Name of the port that serves /metrics. */}}
{{- define "cnpg-plugin-operator.metricsPort" -}}
{{- .Values.metrics.secure.enabled | ternary "https" "http" }}
{{- end }}

{{/* How a monitor reaches /metrics where it is served over TLS. */}}
{{- define "cnpg-plugin-operator.secureEndpoint" -}}
scheme: https
tlsConfig:
  serverName: {{ include "cnpg-plugin-operator.metricsServerName" .root }}
  ca:
    secret:
      name: {{ include "cnpg-plugin-operator.metricsSecret" .root }}
      key: ca.crt
{{- with .root.Values.metrics.secure.tokenSecret }}
{{- if .name }}
authorization:
  credentials:
    name: {{ .name }}
    key: {{ .key }}
{{- else if eq $.kind "PodMonitor" }}
{{- fail "metrics.podMonitor.enabled with metrics.secure.enabled needs metrics.secure.tokenSecret.name: a PodMonitor cannot have Prometheus use its own token" }}
{{- else }}
bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
{{- end }}
{{- end }}
{{- end }}

{{/* Endpoint of a `monitor` of a `kind`, ServiceMonitor or PodMonitor. */}}
{{- define "cnpg-plugin-operator.metricsEndpoint" -}}
port: {{ include "cnpg-plugin-operator.metricsPort" .root }}
path: /metrics
{{- if .root.Values.metrics.secure.enabled }}
{{ include "cnpg-plugin-operator.secureEndpoint" . }}
{{- end }}
{{- with .monitor }}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- if .honorLabels }}
honorLabels: true
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
