"""Measurements: what they compare neod with is installed by themselves, in a temporary folder."""
