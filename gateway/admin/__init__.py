"""The admin port: what probes, Prometheus and operators ask one process over HTTP."""
