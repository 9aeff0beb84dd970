"""The session as variables of an environment, for a shell or for a child."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Variable -> the field of the session that it has.
VARIABLES = {
    "NEO_TOKEN": "token",
    "NEO_SID": "sid",
    "NEO_BASE_URL": "base_url",
    "NEO_EXPIRES_AT": "expires_at",
}


def values(session: Mapping[str, object]) -> dict[str, str | None]:
    """The variables; None where the session has no such value.

    Raises ValueError for what no environment, and no line of a shell, can hold safely.
    """
    found: dict[str, str | None] = {}
    for name, field in VARIABLES.items():
        value = session.get(field)
        found[name] = None if value is None else str(value)
        if not (found[name] or "").isprintable():
            raise ValueError(f"the session's {field} has control characters in it")
    return found


def lines(found: Mapping[str, str | None], shell: str) -> str:
    """What a shell is to evaluate: what is not there is taken away, so that nothing old stays."""
    if shell == "fish":
        return "".join(
            f"set -e {name};\n" if value is None else f"set -gx {name} {_fish(value)};\n"
            for name, value in found.items()
        )
    return "".join(
        f"unset {name}\n" if value is None else f"export {name}={_sh(value)}\n"
        for name, value in found.items()
    )


def _sh(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
