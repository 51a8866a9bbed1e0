"""Download one of the four MNIST files."""

from job import run_job
from ntkstudy.data.downloading import download
from ntkstudy.data.mnist_files import read_checksums, stem


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write the file once its unpacked content has the expected SHA-256."""
    expected = read_checksums(input["checksums"])[stem(output["file"])]
    download(output["file"], cfg["mirrors"], sha256=expected)


run_job(main, globals())
