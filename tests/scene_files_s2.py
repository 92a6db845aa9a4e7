"""Sentinel-2 products for the tests: small, of old and new naming, whole or with something wrong.

Band b of the order of `band_id` holds 1000 + 100 * b + row + column, and 0 in its first row, as the
edge of a swath does.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

RESOLUTIONS = {
    **{"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20},
    **{"B08": 10, "B8A": 20, "B09": 60, "B10": 60, "B11": 20, "B12": 20},
}
"""Metres, in the order of `band_id`."""
SENSED = "20160905T010424"
STRIP = "S20160905T010420"
OUTLINE = "46 11 45 11 45 12.5 46 12.5 46 11"


@dataclass(frozen=True)
class Safe:
    """A product to write."""

    level: str = "L1C"
    old: bool = False
    """Naming of before December 2016."""
    baseline: str = "02.04"
    generated: str = "2016-09-05T10:48:13.000000Z"
    tiles: tuple[str, ...] = ("32TQR",)
    bands: tuple[str, ...] = tuple(RESOLUTIONS)
    """Those that have files."""
    resolutions: tuple[int, ...] = (10, 20, 60)
    """Of the files of Level 2A."""
    size: int = 60
    """Rows and columns at 10 m."""
    smaller: dict[str, int] = field(default_factory=dict)
    """By how much a band's file is smaller than the metadata say."""
    offsets: dict[int, int] = field(default_factory=dict)
    """By `band_id`."""
    outline: str = OUTLINE
    strip: str = STRIP
    classes: tuple[str, ...] = ("SCL", "CLD", "CLASSI")
    """Those that have files, as far as the level has them."""
    placed: bool = True
    """Whether images say where they lie."""
    product: tuple[tuple[str, str], ...] = ()
    """Replacements in the product's metadata."""

    @property
    def name(self) -> str:
        """Without suffix."""
        made = self.generated[:19].replace("-", "").replace(":", "")
        if self.old:
            kind = "OPER" if self.level == "L1C" else "USER"
            stamp = f"{made}_R002_V20160905T005712_{SENSED}"
            return f"S2A_{kind}_PRD_MSI{self.level}_PDMC_{stamp}"
        baseline = self.baseline.replace(".", "")
        return f"S2A_MSI{self.level}_20160905T005712_N{baseline}_R002_T{self.tiles[0]}_{made}"

    def write(self, folder: Path) -> Path:
        """Write it into a folder; its path."""
        root = folder / f"{self.name}.SAFE"
        root.mkdir(parents=True)
        (root / self._product_file).write_text(self._product_xml(), encoding="utf-8")
        for number, tile in enumerate(self.tiles):
            self._write_granule(root, tile, number)
        return root

    @property
    def _product_file(self) -> str:
        if not self.old:
            return f"MTD_MSI{self.level}.xml"
        return f"{self.name.replace('PRD_MSI', 'MTD_SAF')}.xml"

    def _granule(self, tile: str) -> tuple[str, str, str]:
        """(folder, metadata file, beginning of its images' names)."""
        if not self.old:
            start = f"T{tile}_20160905T005712"
            return f"{self.level}_T{tile}_A006291_{SENSED}", "MTD_TL.xml", start
        kind = "OPER" if self.level == "L1C" else "USER"
        stem = f"{self.level}_TL_SGS__20160905T073438_A006291_T{tile}"
        metadata = f"S2A_{kind}_MTD_{stem}.xml"
        return f"S2A_{kind}_MSI_{stem}_N02.04", metadata, f"S2A_{kind}_MSI_{stem}"

    def images(self, tile: str) -> list[tuple[str, int, str]]:
        """(band, resolution, path within the granule) of each band file."""
        *_, start = self._granule(tile)
        if self.level == "L1C":
            return [(b, RESOLUTIONS[b], f"IMG_DATA/{start}_{b}.jp2") for b in self.bands]
        return [
            (band, r, f"IMG_DATA/R{r}m/{start}_{band}_{r}m.jp2")
            for r in self.resolutions
            for band in self.bands
            if band != "B10" and RESOLUTIONS[band] <= r
        ]

    def _write_granule(self, root: Path, tile: str, number: int) -> None:
        name, metadata, start = self._granule(tile)
        folder = root / "GRANULE" / name
        folder.mkdir(parents=True)
        (folder / metadata).write_text(self._granule_xml(tile, number), encoding="utf-8")
        for band, resolution, path in self.images(tile):
            size = self.size * 10 // resolution // self.smaller.get(band, 1)
            self._write_image(folder / path, band_pixels(band, size), number)
        for band in ("TCI", "PVI"):
            place = f"IMG_DATA/{start}_TCI.jp2" if band == "TCI" else f"QI_DATA/{start}_PVI.jp2"
            self._write_image(folder / place, np.full((3, 8, 8), 7, np.uint8), number)
        for path, pixels in self._classes(start):
            self._write_image(folder / path, pixels, number)

    def _classes(self, start: str) -> list[tuple[str, NDArray[Any]]]:
        found: list[tuple[str, NDArray[Any]]] = []
        coarse, fine = self.size // 6, self.size // 2
        for r, side in ((60, coarse), (20, fine)) if self.level == "L2A" else ():
            if "SCL" in self.classes:
                found.append((f"IMG_DATA/R{r}m/{start}_SCL_{r}m.jp2", class_pixels(side, 12)))
            if "CLD" in self.classes:
                name = f"{start}_CLD_{r}m" if self.old else f"MSK_CLDPRB_{r}m"
                found.append((f"QI_DATA/{name}.jp2", class_pixels(side, 101)))
        if "CLASSI" in self.classes and float(self.baseline) >= 4:
            flags = np.stack([class_pixels(coarse, n)[0] for n in (2, 3, 4)])
            found.append(("QI_DATA/MSK_CLASSI_B00.jp2", np.minimum(flags, 1)))
        if float(self.baseline) >= 4:
            found.append(("QI_DATA/MSK_DETFOO_B02.jp2", class_pixels(coarse, 2)))
        return found

    def _write_image(self, path: Path, pixels: NDArray[Any], number: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixel = self.size * 10 / pixels.shape[2]
        transform = rasterio.Affine(pixel, 0, 600000 + 100000 * number, 0, -pixel, 5100000)
        place = {"crs": "EPSG:32632", "transform": transform} if self.placed else {}
        write_jp2(path, pixels, **place)

    def _product_xml(self) -> str:
        tag, other = ("RADIO", "Radiometric_Offset_List")
        if self.level == "L2A":
            tag, other = ("BOA", "BOA_ADD_OFFSET_VALUES_LIST")
        offsets = "".join(
            f'<{tag}_ADD_OFFSET band_id="{i}">{v}</{tag}_ADD_OFFSET>'
            for i, v in self.offsets.items()
        )
        offsets = f"<{other}>{offsets}</{other}>" if offsets else ""
        waves = "".join(
            f'<Spectral_Information bandId="{i}" physicalBand="{b}"><Wavelength><MIN>1</MIN>'
            f"<CENTRAL>{500 + i}.5</CENTRAL></Wavelength></Spectral_Information>"
            for i, b in enumerate(RESOLUTIONS)
        )
        old_l2a = self.old and self.level == "L2A"
        uri = "791_2016-09-05T10_37" if self.old else f"{self.name}.SAFE"
        text = f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{self.level[1:]}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2016-09-05T00:57:12.026Z</PRODUCT_START_TIME>
{
            f"<PRODUCT_URI_2A>{self.name}.SAFE</PRODUCT_URI_2A>"
            if old_l2a
            else f"<PRODUCT_URI>{uri}</PRODUCT_URI>"
        }
<PRODUCT_TYPE>S2MSI{self.level[1:]}</PRODUCT_TYPE>
<PROCESSING_BASELINE>{self.baseline}</PROCESSING_BASELINE>
<GENERATION_TIME>{self.generated}</GENERATION_TIME>
<Datatake datatakeIdentifier="GS2A_20160905T005712_006291_N{self.baseline}">
<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME><DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>
<DATATAKE_SENSING_START>2016-09-05T00:57:12.026Z</DATATAKE_SENSING_START>
<SENSING_ORBIT_NUMBER>2</SENSING_ORBIT_NUMBER>
<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION></Datatake>
<Product_Organisation>{"".join(map(self._listing, self.tiles))}</Product_Organisation>
</Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
{self._quantification()}{offsets}
<Reflectance_Conversion><U>0.98</U></Reflectance_Conversion>
<Spectral_Information_List>{waves}</Spectral_Information_List>
</Product_Image_Characteristics></n1:General_Info>
<n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>
<EXT_POS_LIST>{self.outline}</EXT_POS_LIST>
</Global_Footprint></Product_Footprint></Product_Footprint></n1:Geometric_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>
</n1:Quality_Indicators_Info>
</n1:Level-{self.level[1:]}_User_Product>
"""
        for before, after in self.product:
            assert before in text
            text = text.replace(before, after)
        return text

    def _listing(self, tile: str) -> str:
        all_bands = Safe(self.level, self.old, tiles=self.tiles)
        tag = "IMAGE_ID" if self.old else "IMAGE_FILE"
        tag += "_2A" if self.old and self.level == "L2A" else ""
        files = [path.removesuffix(".jp2") for *_, path in all_bands.images(tile)]
        files = [path.rpartition("/")[2] for path in files] if self.old else files
        images = "".join(f"<{tag}>{path}</{tag}>" for path in files)
        name = "Granules" if self.old else "Granule"
        id = f"S2A_OPER_MSI_{self.level}_TL_SGS__20160905T073438_A006291_T{tile}_N02.04"
        return f'<Granule_List><{name} granuleIdentifier="{id}">{images}</{name}></Granule_List>'

    def _quantification(self) -> str:
        if self.level == "L1C":
            return '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        if not self.old:
            boa = "<BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>"
            return f"{boa}<AOT_QUANTIFICATION_VALUE>1000.0</AOT_QUANTIFICATION_VALUE>"
        toa = "<L1C_TOA_QUANTIFICATION_VALUE>1000</L1C_TOA_QUANTIFICATION_VALUE>"
        return f"{toa}<L2A_BOA_QUANTIFICATION_VALUE>10000</L2A_BOA_QUANTIFICATION_VALUE>"

    def _granule_xml(self, tile: str, number: int) -> str:
        suffix = "_2A" if self.old and self.level == "L2A" else ""
        start = f"S2A_OPER_MSI_{self.level}"
        made = "20160905T073438"
        grids = "".join(
            f'<Size resolution="{r}"><NROWS>{self.size * 10 // r}</NROWS>'
            f"<NCOLS>{self.size * 10 // r}</NCOLS></Size>"
            f'<Geoposition resolution="{r}"><ULX>{600000 + 100000 * number}</ULX>'
            f"<ULY>5100000</ULY><XDIM>{r}</XDIM><YDIM>-{r}</YDIM></Geoposition>"
            for r in (10, 20, 60)
        )
        return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{self.level[1:]}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/t.xsd">
<n1:General_Info>
<TILE_ID{suffix}>{start}_TL_SGS__{made}_A006291_T{tile}_N{self.baseline}</TILE_ID{suffix}>
<DATASTRIP_ID{suffix}>{start}_DS_SGS__{made}_{self.strip}_N{self.baseline}</DATASTRIP_ID{suffix}>
<SENSING_TIME metadataLevel="Standard">2016-09-05T01:04:{24 + number}.002Z</SENSING_TIME>
</n1:General_Info>
<n1:Geometric_Info><Tile_Geocoding>
<HORIZONTAL_CS_CODE>EPSG:32632</HORIZONTAL_CS_CODE>{grids}
</Tile_Geocoding><Tile_Angles>
<Sun_Angles_Grid><Zenith><Values_List><VALUES>1 2 NaN</VALUES></Values_List></Zenith>
</Sun_Angles_Grid>
<Mean_Sun_Angle><ZENITH_ANGLE unit="deg">50.5</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">39.25</AZIMUTH_ANGLE></Mean_Sun_Angle>
</Tile_Angles></n1:Geometric_Info>
</n1:Level-{self.level[1:]}_Tile_ID>
"""


def band_pixels(band: str, size: int) -> NDArray[np.uint16]:
    """(1, y, x) of a band."""
    y, x = np.mgrid[:size, :size]
    pixels = 1000 + 100 * list(RESOLUTIONS).index(band) + y + x
    pixels[0] = 0
    return np.asarray(pixels[None], np.uint16)


def class_pixels(size: int, count: int) -> NDArray[np.uint8]:
    """(1, y, x) of classes from 0 to `count` - 1."""
    y, x = np.mgrid[:size, :size]
    return np.asarray(((7 * y + x) % count)[None], np.uint8)


def write_jp2(path: Path, pixels: NDArray[Any], **place: Any) -> None:
    """Write (band, y, x) as a lossless JPEG 2000."""
    count, height, width = pixels.shape
    options = {"REVERSIBLE": "YES", "QUALITY": "100", "GeoJP2": "NO", "GMLJP2": "YES"}
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", height=height, width=width, count=count,
        dtype=pixels.dtype.name, **options, **place,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)


def pack_zip(folder: Path, archive: Path) -> Path:
    """A folder as a zip."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, path.relative_to(folder.parent))
    return archive


def pack_tar(folder: Path, archive: Path) -> Path:
    """A folder as a tar, compressed by its suffix."""
    with tarfile.open(archive, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as target:
        target.add(folder, folder.name)
    return archive


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as target:
        for info, content in members:
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
