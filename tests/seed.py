"""The sample reply of Kotak's login document, as it stands there."""

from pathlib import Path

DOCUMENT = Path(__file__).parent / "data" / "login.md"


def _sample() -> bytes:
    """The document's one block of JSON."""
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition("```json\n")
    return rest.partition("```")[0].encode()


SAMPLE = _sample()
EXPIRES_AT = 1687977000  # 2023-06-29T00:00:00+05:30
ISSUED_AT = 1687946442
