"""The extras of this package: libraries that only some parts of a configuration need."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

_OURS: Final = frozenset({"gateway", "cbrgateway", "cbrgateway_client", "devstack", "emulator"})
EXTRAS: Final[Mapping[str, Sequence[str]]] = {
    "fast": ("aiohappyeyeballs", "httptools", "uvloop"),
    "http": ("connectrpc", "uvicorn"),
    "shared": ("redis",),
    "console": ("jinja2",),
    "otlp": ("opentelemetry.proto",),
    "otel": ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"),
}
"""The modules of each."""


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require(extra: str, modules: Sequence[str] = ()) -> None:
    """Raises ValueError where it is not installed, or these modules of it are not."""
    if missing := [each for each in modules or EXTRAS[extra] if not installed(each)]:
        raise ValueError(
            f"needs {' and '.join(missing)}, which is not installed. Install the extra: pip install"
            f" 'cbr-gateway[{extra}]'"
        )


def not_installed(error: ModuleNotFoundError, package: str = "cbr-gateway") -> str:
    """What to do about a library that is not there; empty for a module of ours, whose absence is a
    fault. `package`: that of the command.
    """
    module = error.name or ""
    if module.partition(".")[0] in _OURS:
        return ""
    extra = next((name for name, modules in EXTRAS.items() if module in modules), "")
    wanted = f"'cbr-gateway[{extra}]'" if extra else package
    return f"needs {module}, which is not installed. Install it: pip install {wanted}"


def load_less() -> None:
    """Keeps libraries from loading what this process never uses: structlog would take rich, where
    it is installed, for tracebacks in colour; pydantic looks through all packages for plugins.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # This is how an import is refused.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401, PLC0415 - see above

    del sys.modules["rich"]
