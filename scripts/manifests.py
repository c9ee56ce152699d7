"""Writes deploy/kustomize/base from the chart, or checks it, and has the real tools read every
manifest: helm, kustomize and kubernetes-validate, and Envoy the example for it. `make manifests`
installs these.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

_ROOT: Final = Path(__file__).parents[1]
_CHART: Final = _ROOT / "deploy" / "helm" / "cbr-gateway"
_KUSTOMIZE: Final = _ROOT / "deploy" / "kustomize"
_BASE: Final = _KUSTOMIZE / "base" / "cbr-gateway.yaml"
_HEADER: Final = "# Made by `make manifests` from the chart in deploy/helm. Edit that.\n"
_VERSIONS: Final = ("1.27", "1.37")
"""The oldest that the chart takes, and the newest that the validator knows."""
_VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "defaults": (),
    "audited, by TLS with clients' certificates, watched": (
        "audit.enabled=true",
        "tls.secret=cbr-gateway-tls",
        "tls.clientCa=ca.crt",
        "secrets.files=cbr-gateway-files",
        "serviceMonitor.enabled=true",
        "prometheusRule.enabled=true",
        "autoscaling.streams=2000",
        "image.pullSecrets[0].name=registry",
        "http.enabled=true",
        "config.http.allowed_origins[0]=https://console.example.com",
        "networkPolicy.httpCallers[0].namespaceSelector.matchLabels.name=ingress",
    ),
    "bare": ("autoscaling.enabled=false", "networkPolicy.enabled=false", "http.enabled=true"),
}
_REFUSED: Final = (
    ("state.kind of one process", "config.state.kind=sqlite"),
    ("a secret in the open", "config.page_token_key=abc"),
    ("an unknown key", "replica=3"),
    ("an address that the chart decides", "config.http.listen=0.0.0.0:1"),
    ("too little time to end", "terminationGracePeriodSeconds=5"),
)
_ENVOY: Final = _ROOT / "deploy" / "examples" / "envoy.yaml"
_OWN_KINDS: Final = {"Certificate", "ServiceMonitor", "PrometheusRule", "GRPCRoute"}
"""Of operators: the validator has no schemas of them."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing")
    arguments.add_argument("--bin", type=Path, required=True, help="where helm and kustomize are")
    given = arguments.parse_args()
    problems = [*_base(given.bin / "helm", check=given.check), *_read(given.bin)]
    if problems:
        sys.exit("\n".join(problems))


def _base(helm: Path, *, check: bool) -> Iterator[str]:
    made = _HEADER + _rendered(helm, ())
    if check:
        if _BASE.read_text(encoding="utf-8") != made:
            yield f"{_BASE.relative_to(_ROOT)} is not what the chart gives: run `make manifests`"
    else:
        _BASE.write_text(made, encoding="utf-8")


def _read(tools: Path) -> Iterator[str]:
    """What the tools say."""
    _run(tools / "helm", "lint", "--strict", "--quiet", str(_CHART))
    for name, values in _VARIANTS.items():
        yield from _wrong(tools, f"chart, {name}", _rendered(tools / "helm", values))
    for name, value in _REFUSED:
        if not _run(tools / "helm", *_template((value,)), wrong=True):
            yield f"the chart takes {name}: --set {value}"
    for folder in sorted(path.parent for path in _KUSTOMIZE.rglob("kustomization.yaml")):
        where = str(folder.relative_to(_ROOT))
        yield from _wrong(tools, where, _run(tools / "kustomize", "build", str(folder)))
    _envoy(tools / "envoy")


def _envoy(envoy: Path) -> None:
    """Without TLS, whose files are not there."""
    configuration = yaml.safe_load(_ENVOY.read_text(encoding="utf-8"))
    for listener in configuration["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            del chain["transport_socket"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(configuration, file)
        file.flush()
        _run(envoy, "--mode", "validate", "--log-level", "error", "-c", file.name)


def _wrong(tools: Path, where: str, manifests: str) -> Iterator[str]:
    found = [each for each in yaml.safe_load_all(manifests) if each]
    if not found:
        yield f"{where}: no manifests"
    plain = [each for each in found if each["kind"] not in _OWN_KINDS]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump_all(plain, file)
        file.flush()
        for version in _VERSIONS:
            command = (tools / "kubernetes-validate", "--strict", "--quiet", "-k", version)
            done = subprocess.run(
                [*command, file.name], capture_output=True, text=True, check=False
            )
            if done.returncode:
                yield f"{where}, Kubernetes {version}: {done.stdout}{done.stderr}"


def _template(values: tuple[str, ...]) -> list[str]:
    sets = [part for value in values for part in ("--set", value)]
    return ["template", "cbr-gateway", str(_CHART), "--kube-version", _VERSIONS[0], *sets]


def _rendered(helm: Path, values: tuple[str, ...]) -> str:
    return _run(helm, *_template(values))


def _run(tool: Path, *arguments: str, wrong: bool = False) -> str:
    """What it writes; with `wrong`, what it complains of, empty where it does not."""
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    if wrong:
        return done.stderr if done.returncode else ""
    if done.returncode:
        sys.exit(f"{tool.name} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
