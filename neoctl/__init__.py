"""The client of neod. Standard library only: it starts about as fast as a bare interpreter."""

__version__ = "0.1.0"
