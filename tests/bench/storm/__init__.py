"""The parts of tests/bench/chaos.py."""
