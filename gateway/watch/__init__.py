"""Each project's tasks, polled once for all who watch: table, hub, subscriptions and streams."""
