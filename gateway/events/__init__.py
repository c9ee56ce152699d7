"""CloudEvents of what must not be missed, for programs elsewhere: as streams and to webhooks."""
