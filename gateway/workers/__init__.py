"""`serve --workers N`: a parent, and the workers that share its port.

The parent takes no calls. It reads the configuration, starts and replaces the others, and answers
on the health and admin ports for all of them.
"""
