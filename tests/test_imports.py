"""What may import what, and what `neoctl token` must never cost."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.canned import A_SESSION, A_TOKEN, TOKEN, CannedNeod

ROOT = Path(__file__).parent.parent

# Not on the way to `neoctl token`: module -> why.
BANNED = {
    "argparse": "10 ms, for eight verbs",
    "ast": "comes with inspect and dataclasses",
    "asyncio": "one socket needs no loop",
    "contextlib": "comes with collections and functools; try and finally do",
    "dataclasses": "12 ms and more, since it imports inspect",
    "email": "comes with http",
    "enum": "4 ms, for names of numbers",
    "functools": "comes with collections",
    "gettext": "comes with argparse",
    "http": "imports email and socket, to write four lines",
    "httpx": "85 ms",
    "importlib.metadata": "38 ms; __version__ is a constant",
    "inspect": "comes with dataclasses",
    "json": "the token is plain text; JSON is imported where a body is read",
    "jwt": "a token is passed on, not looked into",
    "locale": "nothing is said in a language",
    "logging": "what is to be said goes to stderr",
    "msgspec": "29 ms",
    "neod": "the arrow points from neod to neoctl",
    "pathlib": "a path is a string here",
    "platformdirs": "13 ms; wire knows the one path",
    "random": "imports hashlib",
    "re": "6 ms; partition and split do",
    "selectors": "comes with socket",
    "shutil": "imports every compressor",
    "signal": "the enum-wrapped one; Ctrl-C is KeyboardInterrupt",
    "socket": "wraps _socket in enums and selectors",
    "ssl": "a Unix socket needs none",
    "subprocess": "nothing is started",
    "tempfile": "imports random and shutil",
    "threading": "there is one thread",
    "traceback": "what went wrong is said in words",
    "trio": "133 ms",
    "typing": "annotations are not evaluated here",
    "urllib": "the query is quoted by hand",
}

# Runs neoctl in a bare interpreter: no site, no environment, no user's packages.
PROBE = """
import sys
sys.path.insert(0, sys.argv[1])
from neoctl.cli import main
status = main(sys.argv[2:])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def neod(tmp_path: Path) -> Iterator[CannedNeod]:
    with CannedNeod(tmp_path / "neod.sock") as server:
        yield server


def imported(neod: CannedNeod, line: str) -> tuple[str, set[str]]:
    """What a bare interpreter prints for this command line, and what it has imported by then."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROBE, ROOT, *line.split()],
        env={"NEOD_SOCKET": str(neod.path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout, set(done.stderr.split())


def banned(modules: set[str]) -> dict[str, str]:
    """Those of the table that are among the modules, or have a part that is."""
    return {
        name: why
        for name, why in BANNED.items()
        if any(module == name or module.startswith(f"{name}.") for module in modules)
    }


@pytest.mark.parametrize("line", ["token", "token --json", "token -a main --min-valid 60"])
def test_a_token_costs_no_import_that_it_can_do_without(neod: CannedNeod, line: str) -> None:
    neod.reply = A_TOKEN
    out, modules = imported(neod, line)
    assert TOKEN in out
    assert "neoctl.client" in modules
    assert banned(modules) == {}


def test_the_session_as_it_is_costs_none_either(neod: CannedNeod) -> None:
    neod.reply = A_SESSION
    _, modules = imported(neod, "session")
    assert banned(modules) == {}


def test_the_ban_sees_what_another_verb_imports(neod: CannedNeod) -> None:
    neod.reply = A_SESSION
    _, modules = imported(neod, "get sid")
    assert {"json", "re"} <= banned(modules).keys()


@pytest.mark.parametrize(
    ("module", "row"),
    [("re", "re"), ("urllib.parse", "urllib"), ("importlib.metadata._text", "importlib.metadata")],
)
def test_the_ban_covers_the_parts_of_a_module(module: str, row: str) -> None:
    assert banned({module}) == {row: BANNED[row]}


@pytest.mark.parametrize("module", ["_socket", "importlib", "importlib._bootstrap", "sys", "os"])
def test_the_ban_covers_nothing_else(module: str) -> None:
    assert banned({module}) == {}


# The layers, as the source has them.


def imports(tree: ast.AST) -> set[str]:
    """Every name that is imported, wherever that stands: `from a import b` gives a.b."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def reads_the_wall_clock(tree: ast.AST) -> bool:
    return "time.time" in imports(tree) or any(
        isinstance(node, ast.Attribute)
        and node.attr == "time"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
        for node in ast.walk(tree)
    )


SOURCES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes(), path)
    for package in ("neod", "neoctl")
    for path in sorted((ROOT / package).rglob("*.py"))
}
IMPORTS = {path: imports(tree) for path, tree in SOURCES.items()}

# One library, one door: module -> the only files that import it, and why.
DOORS = {
    "fcntl": ({"neod/lock.py"}, "locks are taken in one place"),
    "h11": ({"neod/ipc/http1.py"}, "HTTP is parsed in one place, without a socket"),
    "httpx": ({"neod/kotak/client.py"}, "the only module that sends; httpx2 can replace it there"),
    "jwt": ({"neod/account/token.py"}, "a token is looked into in one place"),
    "keyring": ({"neod/keyring_child.py"}, "a keyring may hang, so a child asks it"),
    "pyotp": (
        {"neod/account/totp.py", "neod/sandbox/broker.py"},
        "the two ends of a code: who makes it and who checks it",
    ),
    "prometheus_client": ({"neod/ipc/metrics.py"}, "imported when it is asked for"),
    "platformdirs": ({"neod/paths.py"}, "where files are is decided in one place"),
    "tomllib": (
        {"neod/config.py", "neod/sandbox/demo.py"},
        "the user's configuration, and the demo's own",
    ),
}

# No trio in these: file -> what it is instead.
PURE = {
    "neod/account/edge.py": "a function of times",
    "neod/account/history.py": "a fold over lines",
    "neod/account/hours.py": "a function of now",
    "neod/account/logbook.py": "a fold over lines",
    "neod/account/policy.py": "a function of now",
    "neod/account/rejection.py": "a function of now",
    "neod/account/snapshot.py": "a function of a reply",
    "neod/account/token.py": "a function of a string",
    "neod/account/totp.py": "a function of now",
    "neod/config.py": "read before the loop runs",
    "neod/interview.py": "sans-IO: a generator of questions",
    "neod/ipc/http1.py": "sans-IO: bytes in, requests out",
    "neod/kotak/endpoints.py": "a table",
    "neod/kotak/flows.py": "sans-IO: generators of requests",
    "neod/kotak/replies.py": "a function of a reply",
    "neod/sandbox/broker.py": "a state machine that is told the time",
    "neod/sandbox/faults.py": "a table",
    "neod/sandbox/lock.py": "a count",
    "neod/table.py": "as the configuration",
    "neod/values.py": "as the configuration",
}

# The wall clock can be stepped, so it is read where that is thought of: file -> why there.
WALL_CLOCKS = {
    "neod/clock.py": "where it is made into a Clock, which tests replace",
    "neoctl/bots.py": "a bot has no other clock, and CLOCK_BOOTTIME is looked at beside it",
    "neoctl/glance.py": "a client runs for an instant, and has no clock to take",
    "neoctl/probes.py": "as glance",
}


def importers(module: str) -> set[str]:
    return {
        path
        for path, names in IMPORTS.items()
        if any(name == module or name.startswith(f"{module}.") for name in names)
    }


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("neoctl/")])
def test_neoctl_imports_the_standard_library_and_itself(path: str) -> None:
    tops = {name.split(".")[0] for name in IMPORTS[path]}
    assert tops <= sys.stdlib_module_names | {"neoctl"}


def test_the_wire_imports_nothing_but_os() -> None:
    names = IMPORTS["neoctl/wire.py"] - {"__future__.annotations", "collections.abc.Mapping"}
    assert names == {"os"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("neod/")])
def test_neod_takes_the_wire_and_the_version_of_neoctl(path: str) -> None:
    taken = {name for name in IMPORTS[path] if name.split(".")[0] == "neoctl"}
    others = {name for name in taken if not f"{name}.".startswith("neoctl.wire.")}
    assert others <= {"neoctl.__version__"}


@pytest.mark.parametrize("module", DOORS)
def test_a_library_enters_by_its_door(module: str) -> None:
    files, why = DOORS[module]
    assert importers(module) == files, why


@pytest.mark.parametrize("path", PURE)
def test_a_pure_module_knows_no_loop(path: str) -> None:
    assert path not in importers("trio"), PURE[path]


def test_the_wall_clock_is_read_where_it_may_be() -> None:
    assert {path for path, tree in SOURCES.items() if reads_the_wall_clock(tree)} == set(
        WALL_CLOCKS
    )


@pytest.mark.parametrize("path", SOURCES)
def test_a_module_says_what_it_is(path: str) -> None:
    tree = SOURCES[path]
    assert not tree.body or ast.get_docstring(tree)


@pytest.mark.parametrize("package", ["neod", "neoctl"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import httpx", {"httpx"}),
        ("import httpx._client as x, os", {"httpx._client", "os"}),
        ("from httpx import Client as C", {"httpx.Client"}),
        ("def f():\n    from httpx import Client", {"httpx.Client"}),
        ("if TYPE_CHECKING:\n    import httpx", {"httpx"}),
        ("try:\n    import httpx\nexcept ImportError: pass", {"httpx"}),
        ("from . import x", {"..x"}),
        ("from .x import y", {".x.y"}),
    ],
)
def test_an_import_is_seen_wherever_it_stands(source: str, names: set[str]) -> None:
    assert imports(ast.parse(source)) == names


@pytest.mark.parametrize(
    "source", ["import time\nx = time.time()", "f(clock=time.time)", "from time import time as now"]
)
def test_a_glance_at_the_wall_clock_is_seen(source: str) -> None:
    assert reads_the_wall_clock(ast.parse(source))


@pytest.mark.parametrize("source", ["time.monotonic()", "clock.time()", "import time"])
def test_another_clock_is_not_the_wall_clock(source: str) -> None:
    assert not reads_the_wall_clock(ast.parse(source))
