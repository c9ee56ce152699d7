"""Events for programs elsewhere: CloudEvents of what an operator must not miss, for webhooks."""
