"""Keeping one account's session."""
