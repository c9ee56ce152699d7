"""Holds docs/configuration.md against the settings: every key, its default, its environment
variable and what it means.
"""

import re
from pathlib import Path

import yaml

from gateway.config import FILE_VARIABLE, PREFIX, Config, leaves

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def row(key: str, default: str, description: str) -> str:
    """A key inside a list has no variable of its own: the whole list does."""
    plain = {"None": "unset", "True": "true", "False": "false"}.get(default, default)
    shown = plain if plain in {"unset", "required"} else f"`{plain}`"
    variable = PREFIX + re.sub(r"\[\].*", "", key).replace(".", "__").upper()
    return f"| `{key}` | {shown} | `{variable}` | {description} |"


def test_every_key_has_its_row_and_no_row_is_out_of_date() -> None:
    wanted = [row(*leaf) for leaf in leaves(Config)]
    present = [line for line in PAGE.splitlines() if line.startswith("| `") and PREFIX in line]
    assert present == wanted, "put these rows into docs/configuration.md:\n" + "\n".join(wanted)


def test_the_page_names_the_variable_for_the_file() -> None:
    assert f"`{FILE_VARIABLE}`" in PAGE


def test_yaml_on_the_page_is_yaml() -> None:
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        assert yaml.safe_load(block)
