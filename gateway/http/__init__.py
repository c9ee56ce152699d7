"""The HTTP listener: every RPC as Connect (JSON and binary), gRPC-Web and Server-Sent Events, over
the same way that gRPC's calls take (docs/http.md).
"""
