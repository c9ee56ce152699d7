"""Builds the clients of all languages and runs their tests.

What differs between languages stands in `clients/languages.toml` and nowhere here.
"""
