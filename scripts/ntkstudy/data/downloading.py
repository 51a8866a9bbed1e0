"""Download a packed file from several mirrors: resumed, checked, and never half-written."""

import gzip
import http.client
import shutil
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from ntkflow.errors import DownloadError, StorageError

from .mnist_files import check_digest


class _KeepTls(urllib.request.HTTPRedirectHandler):
    """Follow no mirror from https to http."""

    def redirect_request(self, request, file, code, message, headers, url):
        if request.full_url.startswith("https:") and not url.startswith("https:"):
            raise OSError(f"leads from https to {url}, which is not encrypted")
        return super().redirect_request(request, file, code, message, headers, url)


_OPENER = urllib.request.build_opener(_KeepTls)
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, StorageError)


def download(
    target: str | Path,
    mirrors: Sequence[str],
    *,
    sha256: str,
    attempts: int = 3,
    wait: float = 1.0,
    timeout: float = 30.0,
) -> None:
    """Fetch a `.gz` file; it appears under its name only when its content is right.

    What has arrived is kept in `.<name>.part` beside the target: the next attempt, also of a later
    run, asks for the rest of it.

    Args:
        target: the file to write; its name is added to a mirror's address.
        mirrors: addresses of folders, tried in this order.
        sha256: of the unpacked content.
        attempts: tries per mirror; a mirror that has no such file gets one.
        wait: seconds after a first failure, doubled after each further one up to a minute.
        timeout: seconds without an answer that count as a failure.

    Raises:
        DownloadError: one line with every mirror's last problem.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    problems = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        problem = _try_mirror(url, part, sha256, attempts, wait, timeout)
        if problem is None:
            part.replace(target)
            return
        print(f"{url}: {problem}")
        problems.append(f"{url}: {problem}")
    raise DownloadError(
        f"{target.name}: no mirror gave it ({'; '.join(problems)}); run again to resume, name "
        "other mirrors in mnist_mirrors, or put the file into a folder and set "
        "task.source: directory"
    )


def _try_mirror(
    url: str, part: Path, sha256: str, attempts: int, wait: float, timeout: float
) -> str | None:
    """None if the part is complete and right, else the last problem."""
    problem = "not tried"
    for attempt in range(attempts):
        if attempt:
            time.sleep(min(wait * 2 ** (attempt - 1), 60.0))
        resumed = part.exists()
        try:
            _fetch(url, part, timeout)
            _check(part, sha256)
            return None
        except _BROKEN as error:
            # Bytes of two mirrors may not fit together: once more from the start.
            part.unlink()
            problem = str(error)
            if not resumed:
                return problem
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500:
                return problem
    return problem


def _fetch(url: str, part: Path, timeout: float) -> None:
    """Append to the part what it lacks; from the start where the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = _OPENER.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send
            return
        raise
    with answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        shutil.copyfileobj(answer, file)
        expected, start = answer.headers["Content-Length"], have if answer.status == 206 else 0
        arrived = file.tell() - start
    if expected is not None and arrived < int(expected):
        raise OSError(f"the connection closed after {arrived} of {expected} bytes")


def _check(part: Path, sha256: str) -> None:
    content = gzip.decompress(part.read_bytes())
    check_digest(part, content, sha256, advice="the mirror has another file")
