"""neod: a daemon that keeps a Kotak Neo session and serves it over a Unix socket."""

from neoctl import __version__

__all__ = ["__version__"]
