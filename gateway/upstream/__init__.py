"""All that knows HTTP and JSON: what an RPC calls, how it is encoded, sent, retried and decoded."""
