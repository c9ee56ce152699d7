"""What the gateway costs, measured as ratios against what a caller would otherwise do:
`python -m benchmarks`.
"""
