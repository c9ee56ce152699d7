"""Sanitised answers as files, one for each, that contract tests read."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from gateway.survey.answers import Answer
from gateway.survey.run import Visit
from gateway.survey.sanitise import Sanitiser
from gateway.upstream import wire
from gateway.upstream.outcome import SUCCESS

_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")


def fixtures(visits: Iterable[Visit]) -> dict[str, dict[str, Any]]:
    """The files, by name. What is no JSON is left out: nobody can tell what is in it."""
    sanitiser, files, counts = Sanitiser(), dict[str, dict[str, Any]](), Counter[str]()
    for visit in visits:
        for answer in visit.answers:
            if answer.value is None:
                continue
            operation = answer.binding.operation
            counts[operation] += 1
            name = operation if counts[operation] == 1 else f"{operation}-{counts[operation]}"
            files[f"{name}.json"] = _fixture(answer, sanitiser, visit.flavor.name)
    return files


def empty(folder: Path) -> None:
    """Makes the folder, unless it is there and empty. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError("the folder is not empty")


def write(files: dict[str, dict[str, Any]], folder: Path) -> None:
    """Writes them to the folder. Raises OSError."""
    for name, content in files.items():
        (folder / name).write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def _fixture(answer: Answer, sanitiser: Sanitiser, cloud: str) -> dict[str, Any]:
    binding = answer.binding
    fields = {wire.json_key(fd): fd for fd in binding.descriptor.input_type.fields}
    path = _VARIABLE.sub(
        lambda match: sanitiser.text(answer.variables[match[1]], fields.get(match[1])), binding.path
    )
    query = [[name, sanitiser.text(value, fields.get(name))] for name, value in answer.query]
    described = binding.descriptor.output_type if answer.status in SUCCESS else None
    return {
        "operation": binding.operation,
        "status": answer.status,
        "request": {"method": binding.method, "path": path, "query": query},
        "body": sanitiser.answer(answer.value, described),
        "source": (
            f"recorded from {cloud} by cbr-gateway {version('cbr-gateway')}; ids, names, addresses"
            " and free text are replaced"
        ),
    }
