"""Downloading a file once, by pooch: what was broken off goes on, and what arrives is compared with its checksum."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO, Any

from medfusion_jupyter.data.errors import CohortError

CHUNK = 1 << 16
TIMEOUT = 30
"""Seconds without a byte before a server is given up."""


def download(url: str, path: Path, *, checksum: str | None, quiet: bool = False) -> None:
    """Bring `url` to `path`, unless it is there with that checksum (as `md5:…`); with None whatever is there is taken.

    The part that arrived is kept beside it as `.part` when the connection breaks. quiet: without a progress bar. Raises
    CohortError where the server cannot be reached, refuses, or sends something else.
    """
    import pooch
    import requests

    # it tells in English sentences of every file; the progress bar says enough
    logging.getLogger("pooch").setLevel(logging.WARNING)
    pooch.get_logger().setLevel("WARNING")
    if checksum is None and path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=checksum,
            fname=path.name,
            path=path.parent,
            downloader=ResumingDownloader(path.with_name(f"{path.name}.part"), path.name, quiet=quiet),
        )
    except requests.HTTPError as error:
        raise CohortError(
            f"{url} was refused by its server: {error}. It may have moved; look at the source's page."
        ) from error
    except requests.RequestException as error:
        raise CohortError(
            f"{url} cannot be reached; is there a connection to the internet? Ask again to go on where it stopped, or download "
            f"it elsewhere and put it at {path}. ({type(error).__name__})"
        ) from error
    except ValueError as error:  # pooch's word for a wrong checksum
        raise CohortError(
            f"What came from {url} is not what its authors published: its checksum is another. It was thrown away; ask again, "
            f"and where that does not help, the source was changed. ({error})"
        ) from error
    except OSError as error:
        raise CohortError(
            f"{path} could not be written: {error}. Free some space, or set MEDFUSION_HOME to a larger disk."
        ) from error


class ResumingDownloader:
    """A downloader for pooch that keeps what arrived in `part` and asks for the rest by a range."""

    def __init__(self, part: Path, name: str, *, quiet: bool) -> None:
        self.part = part
        self.name = name
        self.quiet = quiet

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: Any) -> None:
        import requests
        from tqdm.auto import tqdm

        there = self.part.stat().st_size if self.part.exists() else 0
        asked = {"Range": f"bytes={there}-"} if there else {}
        # a compressed answer could not go on in its middle
        headers = {"Accept-Encoding": "identity", **asked}
        with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                # the part is as long as the file or longer: the checksum tells which
                self._finish(output_file)
                return
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                there = 0  # the server sends all from the start
            length = int(answer.headers.get("Content-Length", 0))
            with (
                self.part.open("ab" if there else "wb") as file,
                tqdm(
                    total=there + length or None,
                    initial=there,
                    desc=self.name,
                    unit="B",
                    unit_scale=True,
                    disable=self.quiet,
                ) as bar,
            ):
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            if length and self.part.stat().st_size < there + length:
                raise requests.ConnectionError("the connection was closed before the end")
        self._finish(output_file)

    def _finish(self, output_file: str | IO[bytes]) -> None:
        # pooch compares the checksum of what is at its own place, and takes that away where it is wrong
        assert isinstance(output_file, (str, Path))
        self.part.replace(output_file)
