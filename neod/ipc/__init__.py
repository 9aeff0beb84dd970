"""Serving the session to local processes."""
