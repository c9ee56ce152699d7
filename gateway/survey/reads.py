"""Which reads a survey makes, and with what: first those that need no id, then those whose ids were
found in answers.

Ids are found in two ways, both told by the paths: the rows of `…/vaults` are what
`…/vaults/{vault_id}` names, and a member `checkpoint_id` of any answer is what the variable of that
name wants.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor

from gateway.survey.answers import Answer
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding
from gateway.upstream.reference import allowed_values
from gateway.upstream.values import Json

MAX_IDS: Final = 2
"""Objects of a kind that are read one by one."""
_ROWS: Final = 20
_ID: Final[Mapping[str, str]] = {"member_id": "dest_project_id"}
"""Variables that are not filled by the `id` of a row."""
_FIXED: Final[Mapping[str, str]] = {"feature_key": "replication.enable"}
"""Variables that are words of the vendor's manual."""
_PROJECT: Final = "project_id"

Fields = Mapping[str, object]


class Found:
    """The ids that answers have shown: by variable the values of that one and of those that stood
    before it in a path.
    """

    def __init__(self, catalog: Catalog) -> None:
        reads = [binding for binding in catalog if binding.reads and binding.path]
        self._names = {segment.key for binding in reads for segment in binding.segments}
        self._of_rows = {
            binding.path.rpartition("/{")[0]: binding.segments[-1].key
            for binding in reads
            if binding.path.endswith("}")
        }
        self._known: dict[str, list[dict[str, str]]] = {
            name: [{name: value}] for name, value in _FIXED.items()
        }

    def learn(self, answer: Answer) -> None:
        variable = self._of_rows.get(answer.binding.path)
        if variable is not None:
            before = {name: value for name, value in answer.variables.items() if name != _PROJECT}
            for row in _rows(answer.value):
                self._note(variable, row.get(_ID.get(variable, "id")), before)
        for key, value in _members(answer.value):
            if key in self._names:
                self._note(key, value, {})

    def _note(self, variable: str, value: object, before: Mapping[str, str]) -> None:
        known = self._known.setdefault(variable, [])
        entry = {**before, variable: value} if type(value) is str and value else None
        if entry is not None and len(known) < MAX_IDS * 4 and entry not in known:
            known.append(entry)

    def of(self, binding: Binding) -> list[dict[str, str]]:
        """The variables of the path, for each of a few objects; none where an id is missing."""
        names = [segment.key for segment in binding.segments if not segment.words]
        if not names:
            return [{}]
        return [entry for entry in self._known.get(names[-1], []) if entry.keys() >= set(names)][
            : MAX_IDS * 2
        ]


def requests(binding: Binding, found: Found) -> Iterator[Fields]:
    """The fields of each request to make."""
    descriptor = binding.descriptor.input_type
    words = {segment.key: (segment.variable, segment.words) for segment in binding.segments}
    chosen = [
        fd
        for fd in descriptor.fields
        if fd.enum_type is not None and (_required(fd) or fd.name in _variables(binding))
    ]
    page = {"page_size": _ROWS} if "page_size" in descriptor.fields_by_name else {}
    for entry in found.of(binding):
        ids: dict[str, object] = {
            words[key][0]: value
            for key, value in entry.items()
            if key in words and not words[key][1]
        }
        told = {
            words[key][0]: number
            for key, value in entry.items()
            if key in words
            for number, word in words[key][1].items()
            if word == value
        }
        choices = [[told[fd.name]] if fd.name in told else _numbers(fd) for fd in chosen]
        for values in product(*choices):
            yield page | ids | {fd.name: value for fd, value in zip(chosen, values, strict=True)}


def wanting(binding: Binding, found: Found) -> str:
    """What a read lacks that was not found: the names of fields; empty for one that can be made."""
    fields = [
        fd.name
        for fd in binding.descriptor.input_type.fields
        if _required(fd) and fd.enum_type is None and fd.name not in _variables(binding)
    ]
    if not found.of(binding):
        fields += [segment.variable for segment in binding.segments if not segment.words]
    return ", ".join(fields)


def _variables(binding: Binding) -> set[str]:
    return {segment.variable for segment in binding.segments}


def _required(fd: FieldDescriptor) -> bool:
    return bool(fd.GetOptions().Extensions[validate_pb2.field].required)


def _numbers(fd: FieldDescriptor) -> list[int]:
    assert fd.enum_type is not None
    return [
        fd.enum_type.values_by_name[name].number
        for name in allowed_values(fd)
        if not name.endswith("_OTHER")
    ]


def _rows(value: Json) -> Iterable[dict[str, Json]]:
    lists = [item for item in value.values() if type(item) is list] if type(value) is dict else []
    return [row for items in lists for row in items if type(row) is dict]


def _members(value: Json) -> Iterator[tuple[str, Json]]:
    """Every member of every object inside."""
    if type(value) is dict:
        yield from value.items()
    for item in value.values() if type(value) is dict else value if type(value) is list else ():
        yield from _members(item)
