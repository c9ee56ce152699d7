"""Generates the code of one language from the stripped descriptor set, with plugins of this machine
only.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from clients.frame import descriptors
from clients.frame.languages import ROOT, Language

_GOOGLE: Final = (
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "google/type/date.proto",
)


def generate(language: Language) -> None:
    """Writes `generated/<language>` anew, unless the language has no plugins: then its code is
    committed.
    """
    if not language.plugins:
        return
    shutil.rmtree(language.generated, ignore_errors=True)
    template = language.cache / "buf.gen.yaml"
    template.write_text(yaml.safe_dump(_template(language)), encoding="utf-8")
    buf = Path(sys.executable).with_name("buf")
    subprocess.run([buf, "generate", "--template", template], cwd=ROOT, check=True)


def _template(language: Language) -> dict[str, Any]:
    plugins = [{**plugin, "out": str(language.generated)} for plugin in language.plugins]
    files = ["cbrgateway/v1", *(_GOOGLE if language.google else ())]
    return {
        "version": "v2",
        "inputs": [{"binary_image": str(descriptors.STRIPPED), "paths": files}],
        "plugins": plugins,
    }
