"""What callers may use: limits, what changes take of them, concurrency slots, and counts."""
