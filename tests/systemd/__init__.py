"""neod under a real `systemd --user`, which tests/systemd/machine.py brings up."""
