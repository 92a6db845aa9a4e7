"""A PACS for the tests: Debian's Orthanc, on the loopback of a network of its own.

    python pacs.py FOLDER DIRECTORY...

starts it in FOLDER, sends it the DICOM files of each directory, the first time by C-STORE, then all
again by STOW-RS, and prints what it has and serves, as JSON. Orthanc 1.10 listens on all
interfaces, whatever it is told: in a network without any other that is loopback alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

PLUGINS = ("OrthancDicomWeb", "OrthancWSI", "OrthancGdcm")
"""What stores by STOW-RS, shows slides, and decodes JPEG 2000."""
LIBRARIES = Path("/usr/share/orthanc/plugins")
PROGRAMS = ("Orthanc", "storescu", "unshare", "ip")
HTTP, DICOM = 8042, 4242
PROPOSED = {JPEGBaseline8Bit: "-xy", JPEG2000Lossless: "-xv", RLELossless: "-xr"}
"""How storescu is told of transfer syntaxes."""
PATIENCE = 60.0
"""Seconds that it may take to start."""
BOUNDARY = "a-boundary-that-no-pixel-has"


def missing() -> str:
    """Why there can be no PACS here, in words; nothing where all is there."""
    found = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    found += [name for name in PLUGINS if not (LIBRARIES / f"lib{name}.so").exists()]
    if found:
        return f"needs {', '.join(found)}: make test-system"
    tried = subprocess.run([*alone(), "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "needs to make a network namespace (unshare -rn)"


def alone() -> list[str]:
    """What begins a command line that runs in a network of its own, with loopback."""
    return ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def ask(folder: Path, *directories: Path) -> dict[str, Any]:
    """What a PACS in `folder` says of the files of some directories; raises CalledProcessError."""
    command = [*alone(), sys.executable, __file__, str(folder), *map(str, directories)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


# ------------------------------------------------------------------ within the network of its own


def main() -> None:
    """The command line."""
    folder, directories = Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]]
    files = [path for one in directories for path in sorted(one.rglob("*.dcm"))]
    with orthanc(folder):
        for one in directories:
            send(one)
        stored = counts()
        facts = {"stored": stored, "c_store": instances(folder)}
        for one in directories:
            send(one)
        facts["sent_again"] = counts()
        for identifier in get("/patients"):
            call(f"/patients/{identifier}", method="DELETE")
        facts["emptied"] = counts()
        for path in files:
            stow(path)
        facts |= {"stowed": counts(), "stow": instances(folder), "slides": slides()}
    print(json.dumps(facts))


@contextmanager
def orthanc(folder: Path) -> Iterator[None]:
    """Orthanc, running."""
    settings = {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": HTTP,
        "DicomPort": DICOM,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": True,
        "Plugins": [str(LIBRARIES / f"lib{name}.so") for name in PLUGINS],
        "DicomWeb": {"Enable": True},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        program = shutil.which("Orthanc", path=_path()) or "Orthanc"
        running = subprocess.Popen([program, str(file)], stdout=log, stderr=log)
        try:
            _wait(running, folder)
            yield
        finally:
            running.terminate()
            running.wait(30)


def _wait(running: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and running.poll() is None:
        try:
            get("/system")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError((folder / "orthanc.log").read_text()[-2000:])


def send(directory: Path) -> None:
    """C-STORE all files, proposing what they are and no more (storescu knows slides only so)."""
    first = dcmread(next(directory.glob("*.dcm")), stop_before_pixels=True)
    proposed = PROPOSED.get(first.file_meta.TransferSyntaxUID, "-x=")
    command = ["storescu", "-R", proposed, "-aec", "ORTHANC", "+sd", "+r"]
    subprocess.run(
        [*command, "127.0.0.1", str(DICOM), str(directory)],
        check=True, stdout=sys.stderr, stderr=sys.stderr,
    )  # fmt: skip


def stow(path: Path) -> None:
    """Store a file by STOW-RS. DICOM PS3.18, section 10.5."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = head + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    said = json.loads(call("/dicom-web/studies", body, headers=headers))
    assert "00081199" in said, said  # referenced SOP sequence: what was stored
    assert not said.get("00081198", {}).get("Value"), said  # failed SOP sequence


def instances(folder: Path) -> list[dict[str, Any]]:
    """Of each instance: what it is, whether it can be shown, and a copy of its file."""
    found = []
    for identifier in get("/instances"):
        file = call(f"/instances/{identifier}/file")
        tags = get(f"/instances/{identifier}/simplified-tags")
        place = folder / f"{hashlib.sha256(file).hexdigest()}.dcm"
        place.write_bytes(file)
        frames = len(get(f"/instances/{identifier}/frames"))
        found.append(
            {
                "uid": tags["SOPInstanceUID"],
                "series": tags["SeriesInstanceUID"],
                "file": str(place),
                "frames": frames,
                "shown": [
                    status(f"/instances/{identifier}/frames/{frame}/preview")
                    for frame in sorted({0, frames - 1})
                ],
                "web": len(web(tags)),
            }
        )
    return found


def web(tags: dict[str, str]) -> bytes:
    """An instance by WADO-RS."""
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    study, series, instance = (tags[name] for name in names)
    path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    headers = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    return call(path, headers=headers)


def slides() -> dict[str, Any]:
    """The pyramids that the plugin sees, by the UID of their series, and a tile of each level."""
    found = {}
    for identifier in get("/series"):
        uid = get(f"/series/{identifier}")["MainDicomTags"]["SeriesInstanceUID"]
        try:
            pyramid = get(f"/wsi/pyramids/{identifier}")
        except urllib.error.HTTPError:
            continue
        levels = range(len(pyramid["Sizes"]))
        tiles = [status(f"/wsi/tiles/{identifier}/{level}/0/0") for level in levels]
        found[uid] = {"sizes": pyramid["Sizes"], "tiles": tiles}
    return found


def counts() -> dict[str, int]:
    """How much it has."""
    found = get("/statistics")
    return {name: found[f"Count{name}"] for name in ("Studies", "Series", "Instances")}


def status(path: str) -> int:
    """The status of an answer."""
    try:
        with urllib.request.urlopen(_request(path)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def get(path: str) -> Any:
    """An answer of JSON."""
    return json.loads(call(path))


def call(
    path: str,
    body: bytes | None = None,
    *,
    method: str | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """The body of an answer."""
    with urllib.request.urlopen(_request(path, body, method, headers)) as answer:
        return bytes(answer.read())


def _request(
    path: str,
    body: bytes | None = None,
    method: str | None = None,
    headers: dict[str, str] | None = None,
) -> urllib.request.Request:
    url = f"http://127.0.0.1:{HTTP}{path}"
    return urllib.request.Request(url, body, headers or {}, method=method)


def _path() -> str:
    """Where programs are looked for: Debian has Orthanc where only root looks."""
    import os

    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


if __name__ == "__main__":
    main()
