"""The documentation as a site: it builds without a warning, every page is in it, and every link of
it, also to a heading, leads somewhere in it."""

import html.parser
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest

from conftest import BUILD, ROOT

ELSEWHERE = re.compile(r"https?://")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "-d", folder], cwd=ROOT,
                          env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True,
                          text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.fetched, self.text = set(), [], [], path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id") or found.get("name"))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        fetched = found.get("src") or (found.get("href") if tag == "link" and
                                       found.get("rel") != "canonical" else None)
        if fetched:
            self.fetched.append(fetched)


def test_links(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 25
    for path, page in pages.items():
        for link in page.links + page.fetched:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme:
                assert ELSEWHERE.match(link), (path.name, link)
                continue
            to = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), (path.name, link)
            if parts.fragment and to in pages:
                assert urllib.parse.unquote(parts.fragment) in pages[to].ids, (path.name, link)


def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.rglob("*.html"):
        assert not [link for link in Page(path).fetched if ELSEWHERE.match(link)], path


def test_every_page_is_listed(site):
    """In the navigation, which index.html shows."""
    listed = set(Page(site / "index.html").links)
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs")
        assert name.parts[0] == "notebooks" or str(name.with_suffix(".html")) in listed, name


def test_references_are_whole(site):
    """What is made of the header and of the tables of options has all of it."""
    c = re.sub(r"<[^>]+>", "", (site / "reference/c.html").read_text())
    names = re.findall(r"^OX_API [^(]*?\b(ox_\w+)\(", (ROOT / "include/onnxexplainer.h").read_text(),
                       re.M)
    assert len(names) > 20 and all(name + "(" in c for name in names)
    shell = (site / "reference/command-line.html").read_text()
    told = subprocess.run([BUILD / "onnxexplainer", "explain", "--help"], capture_output=True,
                          text=True, check=True).stdout
    options = set(re.findall(r"--([a-z-]+)", told)) - {"help"}
    assert len(options) > 30 and all(f"--{option}" in shell for option in options)
    python = (site / "reference/python.html").read_text()
    assert "DeepExplainer" in python and "<code>keep_references</code>" in python
    assert pathlib.Path(site / "search/search_index.json").is_file()
