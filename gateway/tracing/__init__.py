"""Traces of calls, for an OpenTelemetry collector: the only place that knows its library
for them. Loaded only where tracing is on.
"""
