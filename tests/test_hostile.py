"""Inputs that lie, are damaged or lead elsewhere: one clear line each, and nothing left behind."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import runs
from fakes import texture, write_tif
from rasterio.enums import ColorInterp

from pipeline.errors import ConfigError, PipelineError, PlanError, SourceError
from pipeline.options import ClusterOptions, SourceOptions
from workflows.job import Job, ModelOptions
from workflows.upscale import upscale

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning",
)

Write = Callable[[Path], Path]
"""Makes a hostile file in a folder and returns its path."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOptions]:
    """Threads of this process, shared by all tests."""
    with runs.threads_here() as found:
        yield ClusterOptions(found.scheduler_address)


def upscale_to(
    source: Path | str, folder: Path, cluster: ClusterOptions, **options: object
) -> Path:
    """Upscale by pixel replication into a folder of its own; the output."""
    folder.mkdir()
    target = folder / "result.tif"
    upscale(
        Job(
            str(source),
            (str(target),),
            model=ModelOptions("nearest", scale=2),
            input=SourceOptions(**options),
            cluster=cluster,
        )
    )
    return target


def assert_refused(
    source: Path | str, folder: Path, cluster: ClusterOptions, why: str, **options: object
) -> None:
    """One line that names the file and says why, exit code 3, and nothing left behind, soon."""
    out, started = folder / "out", time.monotonic()
    with pytest.raises(PipelineError, match=why) as caught:
        upscale_to(source, out, cluster, **options)
    assert isinstance(caught.value, SourceError | PlanError)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    assert message.count(str(source)) == 1
    assert list(out.iterdir()) == []
    assert time.monotonic() - started < 20


# headers that lie


def entry(tag: int, kind: int, *values: int) -> bytes:
    """A directory entry of a TIFF whose values fit into it."""
    letter = {3: "H", 4: "I"}[kind]
    return struct.pack("<HHI", tag, kind, len(values)) + struct.pack(
        f"<{len(values)}{letter}", *values
    ).ljust(4, b"\0")


def header(width: int, height: int, *, rows: int = 1, tile: int = 0, bits: int = 8) -> bytes:
    """A TIFF of one directory that claims a size and holds almost nothing."""
    entries = [
        entry(256, 4, width), entry(257, 4, height), entry(258, 3, bits), entry(259, 3, 1),
        entry(262, 3, 1), entry(277, 3, 1),
    ]  # fmt: skip
    if tile:
        entries += [entry(322, 4, tile), entry(323, 4, tile), entry(324, 4, 8), entry(325, 4, 8)]
    else:
        entries += [entry(273, 4, 8), entry(278, 4, rows), entry(279, 4, 8)]
    entries.sort(key=lambda e: struct.unpack("<H", e[:2]))
    body = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(16)


HEADERS = {
    "a-million-squared": header(10**6, 10**6),
    "2-to-the-31": header(2**31 - 1, 2**31 - 1),
    "2-to-the-32": header(2**32 - 1, 2**32 - 1),
    "one-giant-strip": header(60_000, 60_000, rows=60_000),
    "one-giant-tile": header(60_000, 60_000, tile=59_904),
    "no-columns": header(0, 10),
    "no-rows": header(10, 0),
    "wide-and-flat": header(2**31 - 1, 1),
    "65-bits": header(10, 10, bits=65),
    "endless-directory": b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65535) + bytes(64),
    "directory-beyond-the-end": b"II*\0" + struct.pack("<I", 2**31),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused(name: str, tmp_path: Path, cluster: ClusterOptions) -> None:
    source = tmp_path / f"{name}.tif"
    source.write_bytes(HEADERS[name])
    assert_refused(source, tmp_path, cluster, ".")


# files that were cut or damaged


def write(path: Path, *, driver: str = "GTiff", side: int = 700, **options: object) -> Path:
    """A noisy uint8 image."""
    noise = np.random.default_rng(1).integers(0, 255, (3, side, side), np.uint8)
    with rasterio.open(
        path, "w", driver=driver, height=side, width=side, count=3, dtype="uint8", **options
    ) as dataset:
        dataset.write(noise)
    return path


LAYOUTS: dict[str, dict[str, object]] = {
    "striped.tif": {},
    "deflate-striped.tif": {"compress": "deflate"},
    "tiled.tif": {"tiled": True, "blockxsize": 256, "blockysize": 256},
    "lzw-tiled.tif": {"compress": "lzw", "tiled": True, "blockxsize": 256, "blockysize": 256},
    "jpeg-tiled.tif": {"compress": "jpeg", "tiled": True, "blockxsize": 256, "blockysize": 256},
    "cog.tif": {"driver": "COG", "compress": "zstd"},
    "image.png": {"driver": "PNG"},
    "image.jpg": {"driver": "JPEG"},
    "image.jp2": {"driver": "JP2OpenJPEG"},
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_refused(
    name: str, part: float, tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = write(tmp_path / name, **LAYOUTS[name])
    os.truncate(source, int(source.stat().st_size * part))
    assert_refused(source, tmp_path, cluster, ".")


@pytest.mark.parametrize("name", ["deflate-striped.tif", "lzw-tiled.tif", "image.png", "image.jpg"])
def test_a_file_with_a_hole_is_refused(name: str, tmp_path: Path, cluster: ClusterOptions) -> None:
    source = write(tmp_path / name, **LAYOUTS[name])
    with source.open("r+b") as file:
        file.seek(source.stat().st_size // 2)
        file.write(b"\xff\xd8garbage\x00\xff" * 4000)
    assert_refused(source, tmp_path, cluster, ".")


# not what the name says


@pytest.mark.parametrize("driver", ["GTiff", "PNG", "JP2OpenJPEG"])
@pytest.mark.parametrize("suffix", [".jp2", ".tif", ".png", ".zip", ".xml", ""])
def test_a_wrong_suffix_does_not_matter(
    driver: str, suffix: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    made = write(tmp_path / "right", driver=driver, side=64)
    pixels = rasterio.open(made).read()
    source = made.rename(tmp_path / f"wrong{suffix}")
    with rasterio.open(upscale_to(source, tmp_path / "out", cluster)) as result:
        np.testing.assert_array_equal(result.read()[:, ::2, ::2], pixels)


CONTENTS = {
    "empty.tif": b"",
    "text.tif": b"This is not an image.\n" * 100,
    "zeros.tif": bytes(100_000),
    "only-magic.tif": b"II*\0",
    "only-magic.png": b"\x89PNG\r\n\x1a\n",
    "only-magic.jpg": b"\xff\xd8\xff\xe0",
    "only-magic.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "page.html": b"<!DOCTYPE html><html><body>404</body></html>",
    "grid.asc": b"ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n",
    "data.nc": b"CDF\x01" + bytes(200),
    "data.h5": b"\x89HDF\r\n\x1a\n" + bytes(200),
    "service.xml": b"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:1/${z}</ServerUrl>"
    b"</Service></GDAL_WMS>",
    "new\nline.tif": b"a name of two lines",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_allowed_image_is_refused(
    name: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = tmp_path / name
    source.write_bytes(CONTENTS[name])
    if "\n" in name:
        with pytest.raises(SourceError) as caught:
            upscale_to(source, tmp_path / "out", cluster)
        assert "\n" not in str(caught.value)
    else:
        assert_refused(source, tmp_path, cluster, ".")


def test_a_driver_that_is_not_allowed_may_be_allowed(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = tmp_path / "grid.asc"
    source.write_bytes(CONTENTS["grid.asc"])
    result = upscale_to(source, tmp_path / "out", cluster, drivers=("AAIGrid",))
    with rasterio.open(result) as dataset:
        assert dataset.read(1)[::2, ::2].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("drivers", [(), ("Zarr",), ("Zarr", "DICOM", "OME-Zarr"), ("Nope",)])
def test_no_driver_of_gdal_allowed_means_none_not_all(
    drivers: tuple[str, ...], tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = small(tmp_path / "a.tif")
    assert_refused(source, tmp_path, cluster, "opened", drivers=drivers)


# not a file


def test_what_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    fifo, loop, folder = tmp_path / "fifo.tif", tmp_path / "loop.tif", tmp_path / "folder.tif"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    folder.mkdir()
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "nowhere")
    places = {
        fifo: "not a regular file",
        loop: "does not exist|cannot be",
        folder: "directory",
        tmp_path / "dangling.tif": "does not exist",
        tmp_path / "missing.tif": "does not exist",
        Path("/dev/zero"): "not a regular file",
        tmp_path / "missing.tif" / "below": "does not exist",
    }
    for number, (source, why) in enumerate(places.items()):
        (tmp_path / str(number)).mkdir()
        assert_refused(source, tmp_path / str(number), cluster, why)


def test_a_name_too_long_is_refused(tmp_path: Path, cluster: ClusterOptions) -> None:
    assert_refused(tmp_path / ("x" * 300), tmp_path, cluster, "cannot be opened")


def test_a_name_that_leaves_no_room_for_those_beside_it_is_refused(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = write_tif(tmp_path / "in.tif", texture((1, 20, 20)))
    job = Job(str(source), (str(tmp_path / ("x" * 240 + ".tif")),), cluster=cluster)
    with pytest.raises(ConfigError, match=r"its name is \d+ bytes too long"):
        upscale(job)
    assert list(tmp_path.iterdir()) == [source]


def test_a_socket_is_refused(tmp_path: Path, cluster: ClusterOptions) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.tif"))
        assert_refused(tmp_path / "s.tif", tmp_path, cluster, "not a regular file")


def test_a_path_with_a_null_byte_is_refused(tmp_path: Path, cluster: ClusterOptions) -> None:
    with pytest.raises(PipelineError):
        upscale_to(str(tmp_path / "a\0b.tif"), tmp_path / "out", cluster)


REMOTE = [
    "http://127.0.0.1:1/a.tif",
    "https://127.0.0.1:1/a.tif",
    "s3://bucket/a.tif",
    "/vsicurl/http://127.0.0.1:1/a.tif",
    "/vsizip/tmp/a.zip/a.tif",
    "/vsistdin",
    "/vsimem/a.tif",
    "vrt:///etc/passwd",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("uri", REMOTE)
def test_an_address_is_refused_unless_allowed(
    uri: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    assert_refused(uri, tmp_path, cluster, "not a local file")


@pytest.mark.parametrize(
    "name",
    ["GTIFF_DIR:1:{0}", "NETCDF:{0}:x", "GTIFF_RAW:{0}", "WMS:{0}", "DERIVED_SUBDATASET:A:{0}"],
)
def test_a_subdataset_name_is_no_file(
    name: str, tmp_path: Path, cluster: ClusterOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = name.format(write(tmp_path / "a.tif", side=64).name)
    folder = tmp_path / "out"
    with pytest.raises(SourceError, match="does not exist") as caught:
        upscale_to(uri, folder, cluster)
    assert uri in str(caught.value)
    assert list(folder.iterdir()) == []


# VRTs


def vrt(source: str, *, extra: str = "", band: str = "", relative: int = 0, text: str = "") -> str:
    """A VRT of one band from one source."""
    return f"""{text}<VRTDataset rasterXSize="64" rasterYSize="64">{extra}
      <VRTRasterBand dataType="Byte" band="1" {band}>
        <SimpleSource>
          <SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>
          <SourceBand>1</SourceBand>
        </SimpleSource>
      </VRTRasterBand>
    </VRTDataset>"""


RAW = """<VRTDataset rasterXSize="8" rasterYSize="8">
  <VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
    <SourceFilename relativetoVRT="0">/etc/passwd</SourceFilename>
    <ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>8</LineOffset>
  </VRTRasterBand></VRTDataset>"""
FUNCTION = """<VRTDataset rasterXSize="64" rasterYSize="64">
  <VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">
    <PixelFunctionType>f</PixelFunctionType>
    <PixelFunctionLanguage>Python</PixelFunctionLanguage>
    <PixelFunctionCode><![CDATA[import os; os.system("touch /tmp/owned")]]></PixelFunctionCode>
    <SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename></SimpleSource>
  </VRTRasterBand></VRTDataset>"""
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
)
PANSHARPENED = """<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>
  <PanchroBand><SourceFilename>/etc/passwd</SourceFilename></PanchroBand>
  </PansharpeningOptions></VRTDataset>"""
WARPED = """<VRTDataset rasterXSize="64" rasterYSize="64" subClass="VRTWarpedDataset">
  <VRTRasterBand dataType="Byte" band="1" subClass="VRTWarpedRasterBand"/>
  <GDALWarpOptions><SourceDataset relativeToVRT="0">/vsicurl/http://127.0.0.1:1/a.tif
  </SourceDataset></GDALWarpOptions></VRTDataset>"""
NESTED_XML = vrt("&lt;VRTDataset rasterXSize=&quot;64&quot; rasterYSize=&quot;64&quot;/&gt;")
OPTIONS = vrt("a.tif", relative=1).replace(
    "<SourceBand>", '<OpenOptions><OOI key="X">1</OOI></OpenOptions><SourceBand>'
)

VRTS = {
    "curl": (vrt("/vsicurl/http://127.0.0.1:1/a.tif"), "/vsicurl.*not a local file"),
    "http": (vrt("http://127.0.0.1:1/a.tif"), "http:.*not a local file"),
    "zip": (vrt("/vsizip/a.zip/a.tif"), "/vsizip.*not a local file"),
    "spaced": (vrt("  /vsicurl/http://127.0.0.1:1/a.tif  "), "/vsicurl.*not a local file"),
    "passwd": (vrt("/etc/passwd"), "/etc/passwd, which cannot be used"),
    "missing": (vrt("missing.tif", relative=1), "missing.tif.*does not exist"),
    "uri": (vrt("vrt://a.tif?bands=1"), "not a local file"),
    "subdataset": (vrt("GTIFF_DIR:1:a.tif"), "GTIFF_DIR"),
    "netcdf": (vrt("NETCDF:/etc/passwd:x"), "NETCDF"),
    "raw": (RAW, "VRTRawRasterBand|not allowed"),
    "function": (FUNCTION, "not allowed"),
    "pansharpened": (PANSHARPENED, "not allowed"),
    "warped": (WARPED, "not a local file|not allowed"),
    "nested-xml": (NESTED_XML, "cannot be used|not allowed"),
    "bomb": (vrt("a.tif", text=BOMB + "]>"), "entity|not allowed"),
    "doctype": (
        vrt("a.tif", text='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
        "entity|not allowed",
    ),
    "broken": (vrt("a.tif")[:-30], "well-formed"),
    "self": (vrt("self.vrt", relative=1), "deep|itself"),
    "huge": (
        vrt("a.tif", relative=1).replace('"64"', '"2000000000"'),
        "claims|pixels|cannot be opened",
    ),
    "no-bands": (
        '<VRTDataset rasterXSize="64" rasterYSize="64"/>',
        "no raster bands|or bands on VRTDataset",
    ),
    "geolocated": (
        vrt(
            "a.tif",
            relative=1,
            extra='<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">a.tif</MDI></Metadata>',
        ),
        "geolocation arrays",
    ),
    "complex": (
        vrt("a.tif", relative=1).replace("Byte", "CFloat32"),
        "complex64",
    ),
    "int64": (vrt("a.tif", relative=1).replace("Byte", "Int64"), "int64"),
}


@pytest.mark.parametrize("name", VRTS)
def test_a_vrt_that_leads_elsewhere_or_runs_code_is_refused(
    name: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    write(tmp_path / "a.tif", side=64)
    source = tmp_path / f"{name}.vrt"
    text, why = VRTS[name]
    source.write_text(text)
    assert_refused(source, tmp_path, cluster, why)


TRICKS = {
    "case-of-relative": ('relativeToVRT="0"', 'RELATIVETOVRT="1"'),
    "another-truth": ('relativeToVRT="0"', 'relativeToVRT="2"'),
    "spaced-truth": ('relativeToVRT="0"', 'relativeToVRT=" 1"'),
    "two-attributes": ('relativeToVRT="0"', 'relativeToVRT="0" relativetoVRT="1"'),
    "element-for-attribute": ('relativeToVRT="0">', "><relativeToVRT>1</relativeToVRT>"),
    "comment": ("grid.asc", "grid.asc<!-- -->.tif"),
    "text-in-parts": ("grid.asc", "grid.asc<![CDATA[.tif]]>"),
}
"""Spellings that GDAL may read otherwise than we do, so that another file would be checked."""


@pytest.mark.parametrize("name", TRICKS)
def test_a_vrt_cannot_have_another_file_checked_than_the_one_that_is_read(
    name: str, tmp_path: Path, cluster: ClusterOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for allowed in (elsewhere / "grid.asc", tmp_path / "grid.asc.tif", elsewhere / "grid.asc.tif"):
        write(allowed, side=64)
    (tmp_path / "grid.asc").write_bytes(CONTENTS["grid.asc"])
    source = tmp_path / "trick.vrt"
    source.write_text(vrt("grid.asc").replace(*TRICKS[name]).replace("64", "2"))
    assert_refused(source, tmp_path, cluster, ".")


def test_a_link_to_a_vrt_reads_and_checks_the_files_beside_that_vrt(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    write(there / "a.tif", side=64)
    (there / "a.vrt").write_text(vrt("a.tif", relative=1))
    (here / "link.vrt").symlink_to(there / "a.vrt")
    upscale_to(here / "link.vrt", tmp_path / "first", cluster)
    (there / "a.tif").rename(here / "a.tif")
    (there / "a.tif").write_bytes(CONTENTS["grid.asc"])
    assert_refused(here / "link.vrt", tmp_path, cluster, "cannot be used")


def test_a_raw_band_is_refused_however_its_class_is_spelled(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    raw = write(tmp_path / "a.tif", side=64)
    source = tmp_path / "raw.vrt"
    source.write_text(RAW.replace("/etc/passwd", str(raw)).replace("subClass", "subclass"))
    assert_refused(source, tmp_path, cluster, "VRTRawRasterBand")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_vrt_in_another_encoding_is_checked_all_the_same(
    encoding: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = tmp_path / "a.vrt"
    declaration = f'<?xml version="1.0" encoding="{encoding[:6]}"?>' if "16" in encoding else ""
    source.write_text(vrt("/vsicurl/http://127.0.0.1:1/a.tif", text=declaration), encoding=encoding)
    assert_refused(source, tmp_path, cluster, "not a local file|not recognized|cannot be opened")


def test_a_vrt_whose_root_comes_late_is_checked_all_the_same(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = tmp_path / "late.vrt"
    source.write_text(vrt("/vsicurl/http://127.0.0.1:1/a", text=f"<!-- {'x' * 20_000} -->"))
    assert_refused(source, tmp_path, cluster, "not a local file|not recognized")


def test_vrts_over_vrts_over_allowed_files_work(tmp_path: Path, cluster: ClusterOptions) -> None:
    write(tmp_path / "a.tif", side=64)
    (tmp_path / "b.vrt").write_text(vrt("a.tif", relative=1))
    (tmp_path / "c.vrt").write_text(vrt("b.vrt", relative=1))
    result = upscale_to(tmp_path / "c.vrt", tmp_path / "out", cluster)
    with rasterio.open(result) as fine, rasterio.open(tmp_path / "a.tif") as coarse:
        np.testing.assert_array_equal(fine.read(1)[::2, ::2], coarse.read(1))


def test_a_vrt_deep_in_others_is_refused_where_it_leads_away(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    (tmp_path / "b.vrt").write_text(vrt("/vsicurl/http://127.0.0.1:1/a.tif"))
    (tmp_path / "c.vrt").write_text(vrt("b.vrt", relative=1))
    assert_refused(tmp_path / "c.vrt", tmp_path, cluster, "not a local file")


# sidecars


def test_a_sidecar_that_leads_elsewhere_is_not_followed(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = write(tmp_path / "a.tif", side=64)
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
        "/vsicurl/http://127.0.0.1:1/x.ovr</MDI></Metadata></PAMDataset>"
    )
    with pytest.raises(SourceError, match="names other files"):
        upscale_to(source, tmp_path / "out", cluster)


def test_broken_metadata_beside_an_image_is_a_clear_error(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    source = write(tmp_path / "a.tif", side=64)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><Metadata></PAM")
    with pytest.raises(SourceError, match=r"aux\.xml.*not well-formed"):
        upscale_to(source, tmp_path / "out", cluster)


def test_broken_sidecars_do_no_harm(tmp_path: Path, cluster: ClusterOptions) -> None:
    source = write(tmp_path / "a.tif", side=64)
    (tmp_path / "a.tif.msk").write_bytes(b"nonsense")
    (tmp_path / "a.tif.ovr").write_bytes(b"nonsense")
    (tmp_path / "a.tfw").write_text("nonsense")
    upscale_to(source, tmp_path / "out", cluster)


# values and georeferencing


def small(path: Path, dtype: str = "uint8", *, count: int = 1, **options: object) -> Path:
    """A small image of any type."""
    ramp = np.arange(count * 400).reshape(count, 20, 20)
    with rasterio.open(
        path, "w", driver="GTiff", height=20, width=20, count=count, dtype=dtype, **options
    ) as dataset:
        dataset.write(ramp.astype(dtype))
    return path


@pytest.mark.parametrize("dtype", ["int64", "uint64", "complex64", "complex128", "complex_int16"])
def test_a_data_type_that_would_not_come_back_exactly_is_refused(
    dtype: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    path = tmp_path / "a.tif"
    if dtype == "complex_int16":
        small(path, "int16", count=2)
        path = tmp_path / "b.vrt"
        path.write_text(vrt("a.tif", relative=1).replace("Byte", "CInt16"))
    else:
        small(path, dtype)
    assert_refused(path, tmp_path, cluster, dtype)


def test_a_palette_and_a_bit_mask_are_refused_unless_told(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    palette = small(tmp_path / "a.tif", photometric="palette")
    with rasterio.open(palette, "r+") as dataset:
        dataset.write_colormap(1, {0: (1, 2, 3, 255)})
    bits = small(tmp_path / "b.tif", nbits=1)
    for number, (path, why) in enumerate([(palette, "palette"), (bits, "bit mask|palette")]):
        (tmp_path / str(number)).mkdir()
        assert_refused(path, tmp_path / str(number), cluster, f"({why}).*--categorical nearest")
        upscale_to(path, tmp_path / f"{number}-told", cluster, categorical="nearest")


def test_bands_that_differ_in_type_or_nodata_are_refused_unless_selected(
    tmp_path: Path, cluster: ClusterOptions
) -> None:
    small(tmp_path / "a.tif")
    small(tmp_path / "b.tif", "int16", nodata=-1)
    band = vrt("a.tif", relative=1)
    types = band.replace(
        "</VRTDataset>",
        '<VRTRasterBand dataType="Int16" band="2"><SimpleSource><SourceFilename '
        'relativeToVRT="1">b.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>',
    )
    nodata = types.replace("Int16", "Byte").replace(
        'band="2">', 'band="2"><NoDataValue>7</NoDataValue>'
    )
    for name, text, why in [("types", types, "data types"), ("nodata", nodata, "nodata")]:
        (tmp_path / name).mkdir()
        path = tmp_path / f"{name}.vrt"
        path.write_text(text)
        assert_refused(path, tmp_path / name, cluster, f"{why}.*--bands")
        upscale_to(path, tmp_path / f"{name}-told", cluster, bands=(2,))


@pytest.mark.parametrize("bands", [(0,), (-1,), (2,), (10**9,), ()])
def test_bands_that_are_not_there_are_refused(
    bands: tuple[int, ...], tmp_path: Path, cluster: ClusterOptions
) -> None:
    assert_refused(small(tmp_path / "a.tif"), tmp_path, cluster, "band", bands=bands)


@pytest.mark.parametrize(
    "transform",
    [
        (float("nan"), 0, 0, 0, -1, 0),
        (float("inf"), 0, 0, 0, -1, 0),
        (1, 0, float("nan"), 0, -1, 0),
        (0, 0, 5, 0, 0, 5),
        (1, 1, 0, 1, 1, 0),
    ],
)
def test_a_transform_that_maps_to_nowhere_is_refused(
    transform: tuple[float, ...], tmp_path: Path, cluster: ClusterOptions
) -> None:
    small(tmp_path / "a.tif")
    a, b, c, d, e, f = transform
    source = tmp_path / "a.vrt"
    source.write_text(
        vrt(
            "a.tif",
            relative=1,
            extra=f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>",
        )
    )
    assert_refused(source, tmp_path, cluster, "transform")


@pytest.mark.parametrize("value", ["abc", "1e", "nought pixels"])
def test_rpcs_that_are_no_numbers_are_refused(
    value: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    small(tmp_path / "a.tif")
    source = tmp_path / "a.vrt"
    rpcs = f'<Metadata domain="RPC"><MDI key="LINE_OFF">{value}</MDI></Metadata>'
    source.write_text(vrt("a.tif", relative=1, extra=rpcs))
    assert_refused(source, tmp_path, cluster, "LINE_OFF")


STRANGE = {
    "density": '<Metadata><MDI key="TIFFTAG_XRESOLUTION">abc</MDI>'
    '<MDI key="TIFFTAG_RESOLUTIONUNIT">2</MDI></Metadata>',
    "control": '<Metadata><MDI key="A">x&#x9;y&#xA;z</MDI></Metadata>',
    "markup": '<Metadata><MDI key="[red]A">[/nonsense]</MDI></Metadata>',
    "equals": '<Metadata><MDI key="A=B">C=D</MDI></Metadata>',
    "long": f'<Metadata><MDI key="A">{"x" * 100_000}</MDI></Metadata>',
    "unicode": '<Metadata><MDI key="Ä">€ 漢字 &#x1F600;</MDI></Metadata>',
    "crs": "<SRS>nonsense</SRS>",
    "point": '<Metadata><MDI key="AREA_OR_POINT">Nonsense</MDI></Metadata>',
    "gcps": '<GCPList Projection="EPSG:4326"><GCP Id="" Pixel="nan" Line="1" X="1" Y="1"/>'
    "</GCPList>",
    "domain": '<Metadata domain="xml:STRANGE" format="xml"><a/></Metadata>',
    "domain-name": '<Metadata domain="a b/c"><MDI key="A">1</MDI></Metadata>',
    "software": '<Metadata><MDI key="TIFFTAG_SOFTWARE">mine</MDI></Metadata>',
}


@pytest.mark.parametrize(
    "name",
    STRANGE,
)
def test_strange_metadata_is_carried_or_clearly_refused(
    name: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    small(tmp_path / "a.tif")
    source = tmp_path / "a.vrt"
    source.write_text(vrt("a.tif", relative=1, extra=STRANGE[name]).replace('"64"', '"20"'))
    try:
        result = upscale_to(source, tmp_path / "out", cluster)
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
        return
    with rasterio.open(result) as fine, rasterio.open(source) as coarse:
        np.testing.assert_array_equal(fine.read(1)[::2, ::2], coarse.read(1))
        kept = {k: v for k, v in coarse.tags().items() if k not in REWRITTEN}
        assert {k: v for k, v in fine.tags().items() if k in kept} == kept


REWRITTEN = (
    *("TIFFTAG_SOFTWARE", "AREA_OR_POINT"),
    *("TIFFTAG_XRESOLUTION", "TIFFTAG_RESOLUTIONUNIT"),
)


@pytest.mark.parametrize("nodata", ["300", "-1", "1e400", "0.5", "nan"])
def test_nodata_that_no_pixel_can_hold_does_no_harm(
    nodata: str, tmp_path: Path, cluster: ClusterOptions
) -> None:
    small(tmp_path / "a.tif")
    source = tmp_path / "a.vrt"
    source.write_text(
        vrt("a.tif", relative=1).replace(
            "<SimpleSource>", f"<NoDataValue>{nodata}</NoDataValue><SimpleSource>"
        )
    )
    result = upscale_to(source, tmp_path / "out", cluster)
    with rasterio.open(result) as fine, rasterio.open(source) as coarse:
        np.testing.assert_array_equal(fine.read(1)[::2, ::2], coarse.read(1))
        assert fine.read_masks(1).all()


def test_an_image_of_one_pixel_works(tmp_path: Path, cluster: ClusterOptions) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=1, width=1, count=1, dtype="uint8"
    ) as dataset:
        dataset.write(np.full((1, 1, 1), 9, np.uint8))
    with rasterio.open(upscale_to(path, tmp_path / "out", cluster)) as result:
        assert result.read().tolist() == [[[9, 9], [9, 9]]]


def test_only_alpha_and_two_alphas_work(tmp_path: Path, cluster: ClusterOptions) -> None:
    path = small(tmp_path / "a.tif", count=3)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray, ColorInterp.alpha, ColorInterp.alpha]
    result = upscale_to(path, tmp_path / "out", cluster)
    with rasterio.open(result) as fine, rasterio.open(path) as coarse:
        np.testing.assert_array_equal(fine.read()[:, ::2, ::2], coarse.read())
    alone = upscale_to(path, tmp_path / "alone", cluster, bands=(2,))
    with rasterio.open(alone) as fine, rasterio.open(path) as coarse:
        np.testing.assert_array_equal(fine.read(1)[::2, ::2], coarse.read(2))


def test_nothing_of_this_is_a_bug_to_the_command_line(tmp_path: Path) -> None:
    source = tmp_path / "text.tif"
    source.write_text("no image")
    code = "from workflows.cli import main; main()"
    run = runs.start(code, "upscale", str(source), str(tmp_path / "out.tif"))
    _, log = runs.finish(run)
    assert run.returncode == 3
    assert len(log.splitlines()) == 1
    assert str(source) in log
