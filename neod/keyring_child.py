"""Asks the keyring for one secret, in a process of its own.

A locked keyring may prompt, or block for ever, and a process can be killed where a thread cannot.
Run by its path, with the service and the user name as arguments; knows nothing of neod. The
secret goes to stdout and nothing else does. The exit status says what is wrong, stderr the rest.
"""

import os
import sys

NOT_INSTALLED, NO_KEYRING, LOCKED, NO_ENTRY = 10, 11, 12, 13


def main(service: str, user: str) -> int:
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a backend prints is no secret
    try:
        import keyring  # noqa: PLC0415 - optional
        from keyring.errors import KeyringLocked, NoKeyringError  # noqa: PLC0415
    except ImportError as error:
        return _said(error, NOT_INSTALLED)
    try:
        secret = keyring.get_password(service, user)
    except NoKeyringError:
        return NO_KEYRING
    except KeyringLocked:
        return LOCKED
    except Exception as error:  # noqa: BLE001 - whatever a backend may raise
        return _said(f"{type(error).__name__}: {error}", 1)
    if secret is None:
        return NO_ENTRY
    with open(answer, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(secret.encode(errors="surrogatepass"))
    return 0


def _said(what: object, status: int) -> int:
    sys.stderr.write(f"{what}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
