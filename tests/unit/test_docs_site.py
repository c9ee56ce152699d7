"""The docs site: what mkdocs is given. mkdocs itself checks the links (`make docs`)."""

import re
import tomllib
from pathlib import Path

import yaml

from gateway.operations import load_catalog
from gateway.upstream.catalog import own_services
from gateway.upstream.reference import load_comments
from scripts import api_reference, docs_site

ROOT = Path(__file__).resolve().parents[2]
PAGES = api_reference.pages()


def headings(text):
    """As mkdocs names them in links."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in found]


def test_the_reference_has_every_rpc_and_what_cbr_calls_it():
    missing = [
        method.full_name
        for service in own_services()
        for method in service.methods
        if f"\n## {method.name}\n" not in PAGES[f"{Path(service.file.name).stem}.md"]
    ]
    everything = "".join(PAGES.values())
    missing += [
        each.rpc
        for each in load_catalog()
        if each.operation and f"`{each.method} {each.path}`" not in everything
    ]
    assert not missing


def test_the_reference_says_all_that_the_protos_say():
    said = re.sub(r"[\\`]|&lt;", "", "".join(PAGES.values())).replace("<", "")
    comments = load_comments()
    assert len(comments) > 1000
    missing = [
        name
        for name, text in comments.items()
        if re.sub(r"[\\`<]", "", text) not in said and not name.startswith("cbrgateway.v1.options")
    ]
    assert not missing


def test_the_types_of_fields_are_links_to_what_is_there():
    anchors = {name: headings(text) for name, text in PAGES.items()}
    links = re.findall(r"\]\((\w+\.md)#(\w+)\)", "".join(PAGES.values()))
    assert len(links) > 500
    assert [link for link in links if link[1] not in anchors[link[0]]] == []
    assert [name for name, heads in anchors.items() if len(heads) != len(set(heads))] == []


def test_the_site_has_a_page_for_everything_in_its_table_of_contents(tmp_path):
    docs_site.lay_out(tmp_path / "docs")
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = re.findall(r"'([^']+\.md)'", str(site["nav"]))
    assert [name for name in named if not (tmp_path / "docs" / name).is_file()] == []
    pages = {path.name for path in (tmp_path / "docs" / "docs").glob("*.md")}
    assert pages - {Path(name).name for name in named} == set()
    references = {f"docs/reference/{name}" for name in PAGES}
    assert references - set(named) == set()


def test_the_links_of_a_page_lead_to_what_is_laid_out(tmp_path):
    docs_site.lay_out(tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    for href in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", page):
        assert (tmp_path / href).is_file(), href


def test_the_programs_of_the_site_are_locked_with_hashes():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements-site.lock").read_text(encoding="utf-8")
    for wanted in groups["dependency-groups"]["site"]:
        assert f"{wanted} \\\n    --hash=" in lock
