"""The console: pages for operators on the admin port, made on the server, for administrators only
(docs/console.md).
"""
