"""A client with the methods of the vendor's Python SDK whose calls another language's SDK makes, in
a program of its own.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from huaweicloudsdkcbr.v1 import model
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, SdkError

Json = Any


class Answer:
    """An object of an answer: its members are attributes under the names that the Python SDK gives
    them; free-form ones have keys.
    """

    def __init__(self, members: dict[str, Json]) -> None:
        self._members = members

    def __getattr__(self, name: str) -> Json:
        return next(
            (value for key, value in self._members.items() if name in {key, snake_case(key)}), None
        )

    def __getitem__(self, key: str) -> Json:
        return self._members[key]

    def __eq__(self, other: object) -> bool:
        return self._members == other

    __hash__ = None


class Program:
    """The other language's program: a JSON object a line in, one out."""

    def __init__(self, command: Sequence[str], environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def make(self, call: Json) -> Json:
        """Return what came of a call. Raises RuntimeError if the program has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the program has no pipes")
        stdin.write(f"{json.dumps(call)}\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the program has ended with {self._process.wait()}")
        return json.loads(line, object_hook=Answer)

    def close(self) -> None:
        """End the program."""
        self._process.communicate(timeout=30)


class OtherSdk:
    """The client for one project.

    What the other SDK cannot do is left to `python`, and `problems` says why; `drops` are members
    it does not know.
    """

    def __init__(
        self,
        program: Program,
        project_id: str,
        python: Any,
        problems: dict[str, str],
        drops: frozenset[str],
    ) -> None:
        self._program, self._project_id, self._python, self._problems, self.drops = (
            program,
            project_id,
            python,
            problems,
            drops,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = "".join(part.title() for part in name.split("_"))

        def made(**members: Any) -> Any:
            request = getattr(model, f"{operation}Request")(**members)
            outcome = self._program.make(
                {"project": self._project_id, "operation": operation, "request": plain(request)}
            )
            if outcome.problem is not None:
                self._problems[name] = outcome.problem
                return getattr(self._python, name)(**members)
            if outcome.code is not None:
                raise ClientRequestException(outcome.status, SdkError("", outcome.code, ""))
            return outcome.response

        return made


def plain(value: Any) -> Json:
    """Return the JSON of a request of the Python SDK."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not hasattr(value, "attribute_map"):
        return value
    return {
        key: plain(item)
        for name, key in value.attribute_map.items()
        if (item := getattr(value, name)) is not None
    }


def snake_case(key: str) -> str:
    """Return `orderId` as `order_id`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
