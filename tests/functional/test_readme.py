"""Runs what the documents tell a reader to run, as a reader would: against a real
`cbr-gateway dev`, with the answers that they show.

A ```sh block is pasted into a shell, a ```python block into an interactive interpreter, where a
line without text ends a block. In a ```console block a line that begins with `$ ` is a command, the
following lines are its answer; `...` stands for anything. What a ```python block prints may stand
below it, after the words "which prints". A block that cannot run here has a comment
`<!-- not run here: why -->` in front of it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/clients.md",
    "docs/errors.md",
    "docs/http.md",
    "docs/operations.md",
    "docs/real-cbr.md",
    "docs/cbrctl.md",
    "clients/python/README.md",
)
NOT_RUN = {
    "README.md": 3,
    "CONTRIBUTING.md": 5,
    "docs/clients.md": 3,
    "docs/errors.md": 0,
    "docs/http.md": 0,
    "docs/operations.md": 1,
    "docs/real-cbr.md": 2,
    "docs/cbrctl.md": 0,
    "clients/python/README.md": 1,
}
"""How many blocks of a document cannot run here.

A new one needs a reason and a look at this table.
"""

_BLOCK = re.compile(
    r"(?:<!-- not run here: (?P<why>[^\n]+) -->\n)?"
    r"```(?P<language>console|python|sh)\n(?P<text>.*?)```"
    r"(?:\n\nwhich prints\n\n```text\n(?P<answer>.*?)```)?",
    re.DOTALL,
)
_END = "=== end of the answer ==="
_ADDRESSES = ("127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:18774", "127.0.0.1:50054")


@dataclass(frozen=True, slots=True)
class Block:
    document: str
    line: int
    language: str
    text: str
    answer: str
    """What a program prints; the answers of commands stand between them, in `text`."""
    why_not: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(
            document,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            found["text"],
            found["answer"] or "",
            found["why"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the answer that is shown for it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        last = next(i for i, line in enumerate(lines) if not continues("\n".join(lines[: i + 1])))
        yield "\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])


def continues(command: str) -> bool:
    """Whether a shell would wait for another line: after a backslash, or inside quotes."""
    return command.endswith("\\") or command.split("#", maxsplit=1)[0].count("'") % 2 == 1


def pattern(answer: str) -> re.Pattern[str]:
    """The shown answer as a pattern: `...` alone on a line stands for any lines, elsewhere for any
    text in its line.
    """
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(re.escape("..."), ".*") + "\n"
        for line in answer.splitlines()
    ]
    return re.compile("".join(lines))


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Address in the documents -> address of a gateway that runs now."""
    real = [f"127.0.0.1:{free_port()}" for _ in _ADDRESSES]
    flags = ["--listen", real[0], "--health-listen", real[1], "--emulator-listen", real[2]]
    flags += ["--http-listen", real[3], "--admin-listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [executable("cbr-gateway"), "dev", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert any(real[0] in line for line in process.stdout), "the gateway did not start"
        yield dict(zip(_ADDRESSES, real, strict=True))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def executable(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what commands may read and write."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.why_not], ids=str)
def test_runs_as_shown(block: Block, addresses: dict[str, str], checkout: Path) -> None:
    text = re.sub("|".join(addresses), lambda found: addresses[found[0]], block.text)
    if block.language != "console":
        output = (
            run(["bash", "-eu"], checkout, text)
            if block.language == "sh"
            else pasted(text, checkout)
        )
        assert pattern(block.answer).match(output), (
            f"{block}: is shown with\n{block.answer}\nand printed\n{output}"
        )
        return
    commands, answers = zip(*steps(text), strict=True)
    # One shell for the whole block, as a reader has it.
    output = run(
        ["bash", "-euc", "".join(f"{command}\necho '{_END}'\n" for command in commands)], checkout
    )
    for command, shown, got in zip(commands, answers, output.split(f"{_END}\n"), strict=False):
        assert not shown or pattern(shown).match(got), (
            f"{block}: {command}\nis shown with the answer\n{shown}\nand got\n{got}"
        )


def run(command: list[str], folder: Path, typed: str = "") -> str:
    ended = end_of(command, folder, typed)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def pasted(text: str, folder: Path) -> str:
    """What an interactive interpreter prints for a program.

    After an error it goes on, so errors are looked for beside its prompts.
    """
    ended = end_of([sys.executable, "-W", "error", "-i", "-q"], folder, f"{text}\n")
    assert not re.sub(r"(>>>|\.\.\.) ", "", ended.stderr).strip(), ended.stderr
    return ended.stdout


def end_of(command: list[str], folder: Path, typed: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    env = os.environ | {"PATH": path, "CBRCTL_CONFIG": str(folder / "cbrctl.toml")}
    env |= {"PYTHONWARNINGS": "error"} if typed else {}
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_few_blocks_are_not_run(document: str) -> None:
    skipped = [block for block in blocks(document) if block.why_not]
    assert len(skipped) == NOT_RUN[document], [str(block) for block in skipped]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_block_is_overlooked(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.count("```") == 2 * (
        len(blocks(document))
        + len(
            re.findall(
                r"^ *```(?:text|yaml|proto|go|java|typescript|rust|cpp|ruby|cmake|toml|xml|json"
                r"|markdown)$",
                text,
                re.MULTILINE,
            )
        )
    )
