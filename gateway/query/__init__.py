"""What a caller asks of a list beyond its page: `filter`, `order_by` and `read_mask`.

Pure: docs/filters.md says what they mean.
"""
