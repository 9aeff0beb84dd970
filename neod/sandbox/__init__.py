"""A Kotak Neo on loopback, to try neod on and to test it against."""
