"""When the sandbox locks the account: at the third refusal in a row. Pure counting.

Nobody documents what Kotak takes for "in a row". Here a wrong credential counts, wherever it
stands. A correct first factor makes good for wrong first factors, because a client that wants no
more than a view token is logged in by it. It makes good for no wrong MPIN or OTP, or a client
whose MPIN is wrong would never be locked, being right about its password each time. If a second
factor is refused after all, the login was none, and the refusals before it count again. A
correct second factor makes good for everything.

A locked account takes no credential until a person unlocks it; sessions from before live on.
"""

LOCKED_AT = 3  # refusals; the only figure that users report


class Lock:
    """Counts refusals."""

    def __init__(self) -> None:
        self.locked = False
        self.ever = 0  # refusals since the start
        self._first = self._second = 0
        self._set_aside = 0  # wrong first factors before a right one, until the second is known

    @property
    def in_a_row(self) -> int:
        """Refusals since the last accepted login."""
        return self._first + self._second

    def refuse_first(self) -> None:
        self._first += 1
        self._refuse()

    def refuse_second(self) -> None:
        self._second += 1
        self._first += self._set_aside
        self._set_aside = 0
        self._refuse()

    def accept_first(self) -> None:
        self._set_aside += self._first
        self._first = 0

    def accept_second(self) -> None:
        self._first = self._second = self._set_aside = 0

    def unlock(self) -> None:
        """What a person does in the Neo app."""
        self.accept_second()
        self.locked = False

    def _refuse(self) -> None:
        self.ever += 1
        self.locked = self.locked or self.in_a_row >= LOCKED_AT
