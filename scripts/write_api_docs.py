"""Write docs/api, a page for every part of the library, from the names that ntkflow exports.

What a page says is made of docstrings when the documentation is built (`make docs`).
"""

import ast
import sys
from pathlib import Path

import ntkflow

FOLDER = Path("docs/api")
LIBRARY = Path(ntkflow.__file__).parent
HEAD = "<!-- made by `make docs` -->"


def parts() -> dict[str, dict[str, str]]:
    """Exported names of every part of the library, and the module that each is taken from."""
    found: dict[str, dict[str, str]] = {}
    for name in ntkflow.__all__:
        home = ntkflow._HOMES[name]
        found.setdefault(home.split(".")[0], {})[name] = f"ntkflow.{home}"
    return found


def page(part: str, names: dict[str, str]) -> str:
    """Markdown of one part: what the part is for, then every name."""
    lines = [HEAD, "", f"# {part}", "", _purpose(part), ""]
    for name, module in names.items():
        heading = f"      heading: {name}"
        lines += [f"::: {module}.{name}", "    options:", heading, ""]
    return "\n".join(lines)


def index() -> str:
    """Markdown of the page that lists every name."""
    lines = [HEAD, "", "# API reference", ""]
    lines += ["Every name is an attribute of `ntkflow`: `ntkflow.empirical_ntk(...)`.", ""]
    for part, names in parts().items():
        links = [f"[{name}]({part}.md#{module}.{name})" for name, module in names.items()]
        lines += [f"**[{part}]({part}.md)**: {_purpose(part)}", "", ", ".join(links), ""]
    return "\n".join(lines)


def _purpose(part: str) -> str:
    """First line of a part's docstring, read without importing it."""
    tree = ast.parse((LIBRARY / part / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n")[0]


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    return {"index.md": index()} | {
        f"{part}.md": page(part, names) for part, names in parts().items()
    }


def main() -> None:
    """Write the pages, and delete those of parts that are no more."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in {path.name for path in FOLDER.glob("*.md")} - made.keys():
        (FOLDER / old).unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
