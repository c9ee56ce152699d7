{{- define "cbr-gateway.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "cbr-gateway.selector" -}}
app.kubernetes.io/name: cbr-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cbr-gateway.labels" -}}
{{ include "cbr-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/* The configuration file: what the values say, and what follows from the rest of them. */}}
{{- define "cbr-gateway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.tls.secret -}}
{{- $tls := dict "certificate_file" "/etc/cbr-gateway/tls/tls.crt" "key_file" "/etc/cbr-gateway/tls/tls.key" -}}
{{- if .Values.tls.clientCa -}}
{{- $_ := set $tls "client_ca_file" (printf "/etc/cbr-gateway/tls/%s" .Values.tls.clientCa) -}}
{{- end -}}
{{- $_ := mergeOverwrite $config (dict "server" (dict "tls" $tls)) -}}
{{- end -}}
{{- if .Values.http.enabled -}}
{{- $_ := mergeOverwrite $config (dict "http" (dict "listen" "0.0.0.0:50054")) -}}
{{- end -}}
{{- if .Values.audit.enabled -}}
{{- $audit := dict "directory" "/var/lib/cbr-gateway/audit" "key" (dict "env" .Values.audit.keyVariable) -}}
{{- $_ := set $config "audit" (mergeOverwrite $audit (default dict $config.audit)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "cbr-gateway.pod" -}}
metadata:
  labels:
    {{- include "cbr-gateway.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # A changed file of tenants is taken over by the gateway itself; a changed configuration is rolled out.
    checksum/config: {{ include "cbr-gateway.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "cbr-gateway.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ $key }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {{ include "cbr-gateway.selector" $ | fromYaml | toJson }}}
    {{- end }}
  containers:
    - name: gateway
      image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      ports:
        - {name: grpc, containerPort: 50051}
        - {name: grpc-health, containerPort: 50052}
        - {name: http-admin, containerPort: 50053}
        {{- if .Values.http.enabled }}
        - {name: http, containerPort: 50054}
        {{- end }}
      envFrom:
        - secretRef: {name: {{ .Values.secrets.environment }}}
      {{- if .Values.audit.enabled }}
      env:
        # A log goes on by its writer's name: that of the replica, which stays.
        - name: CBR_GATEWAY_AUDIT__WRITER
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
      {{- end }}
      # Until the gateway serves, nothing else is asked.
      startupProbe:
        grpc: {port: 50052}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: http-admin}
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: http-admin}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 2
      resources: {{ toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/cbr-gateway/config.yaml, subPath: config.yaml, readOnly: true}
        - {name: tenants, mountPath: /etc/cbr-gateway/tenants, readOnly: true}
        {{- if .Values.secrets.files }}
        - {name: secrets, mountPath: /etc/cbr-gateway/secrets, readOnly: true}
        {{- end }}
        {{- if .Values.tls.secret }}
        - {name: tls, mountPath: /etc/cbr-gateway/tls, readOnly: true}
        {{- end }}
        {{- if .Values.audit.enabled }}
        - {name: audit, mountPath: /var/lib/cbr-gateway/audit}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "cbr-gateway.name" . }}-config}
    - name: tenants
      configMap: {name: {{ include "cbr-gateway.name" . }}-tenants}
    {{- with .Values.secrets.files }}
    - name: secrets
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.tls.secret }}
    - name: tls
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
