"""Ask what is known of the security of the pinned packages: pip-audit on requirements.txt.

pip-audit looks each pin up in the package index, and calls what it cannot look up no finding; here
that is said. It lives in an environment of its own, .venv-audit, which `make audit` makes.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

PIP_AUDIT = ".venv-audit/bin/pip-audit"
# Findings that concern nobody here, by their id, and why.
EXPLAINED: dict[str, str] = {}


def read_findings(
    text: str, explained: Mapping[str, str] = EXPLAINED
) -> tuple[list[str], list[str]]:
    """Lines on known vulnerabilities, and names of packages that nothing could be learnt of.

    Args:
        text: what `pip-audit --format json` printed.
        explained: reasons for findings that need no change.
    """
    lines, unknown = [], []
    for package in json.loads(text)["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for each in package.get("vulns", ()):
            reason = explained.get(each["id"])
            what = (
                f"explained: {reason}"
                if reason
                else "fixed in " + (", ".join(each["fix_versions"]) or "no release yet")
            )
            lines.append(f"{package['name']} {package['version']}: {each['id']}; {what}")
    return lines, unknown


def judge(status: int, text: str) -> tuple[int, list[str]]:
    """Exit status and lines to print for what pip-audit did."""
    try:
        lines, unknown = read_findings(text)
    except ValueError:
        return 2, [f"The audit failed: pip-audit ended with status {status}."]
    if unknown:
        first = f"{', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}"
        return 2, [
            *lines,
            f"No audit: the package index does not answer for {len(unknown)} packages "
            f"({first}); it needs a network that reaches it.",
        ]
    unexplained = [line for line in lines if "; explained: " not in line]
    return int(bool(unexplained)), lines or ["No vulnerability of a pinned package is known."]


def main(requirements: Sequence[str] = ("requirements.txt",)) -> int:
    """Audit the pins and print what was found."""
    files = [word for file in requirements for word in ("--requirement", file)]
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(
        [PIP_AUDIT, *files, *options], capture_output=True, text=True, check=False
    )
    status, lines = judge(done.returncode, done.stdout)
    print(*lines, sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
