"""The page around the sections. It is well-formed XML, so that any parser reads it."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template

SCRIPTS = ("theme", "charts", "map", "graph")
"""The files of ``static/`` that a page with its pictures runs, in this order."""

# The policy forbids the page to fetch anything, and to run any script but these.
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
script-src $hash"/>
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>$header</header>
<main>$main</main>
<footer>$footer</footer>
$script</body>
</html>
""")


def page(title: str, header: str, main: str, footer: str = "", scripts: tuple[str, ...] = (), style: str = "") -> str:
    """Return a page.

    Args:
        title: its title, HTML as all of these.
        header: what is above.
        main: the sections.
        footer: what is below.
        scripts: some of :data:`SCRIPTS`.
        style: further CSS.
    """
    code = "".join(f"{{\n{_read(f'{name}.js')}}}\n" for name in scripts)
    run = f'//<![CDATA[\n"use strict";\n{code}//]]>'
    digest = base64.b64encode(hashlib.sha256(run.encode()).digest()).decode("ascii")
    return _PAGE.substitute(
        title=title,
        header=header,
        main=main,
        footer=footer,
        style=_read("page.css") + style,
        script=f"<script>{run}</script>\n" if scripts else "",
        hash=f"'sha256-{digest}'" if scripts else "'none'",
    )


def _read(name: str) -> str:
    return (files("cl_as_gnn.report") / "static" / name).read_text(encoding="utf-8")
