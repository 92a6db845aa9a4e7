"""Synthetic Landsat products: small GeoTIFFs, and metadata in the three notations of the MTL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio

Groups = dict[str, dict[str, str]]

SENSORS = {
    "OLI_TIRS": ("LC", "uint16", ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]),
    "ETM": ("LE", "uint8", ["1", "2", "3", "4", "5", "6_VCID_1", "6_VCID_2", "7", "8"]),
    "TM": ("LT", "uint8", ["1", "2", "3", "4", "5", "6", "7"]),
    "MSS": ("LM", "uint8", ["4", "5", "6", "7"]),
}
"""Letters, data type and bands at level 1."""
THERMAL = {
    "OLI_TIRS": ("10", "11", "ST_B10"),
    "ETM": ("6_VCID_1", "6_VCID_2", "ST_B6"),
    "TM": ("6", "ST_B6"),
    "MSS": (),
}
"""Bands that have a radiance and no reflectance."""


@dataclass(frozen=True)
class Product:
    """What to write; `write` does it."""

    sensor: str = "OLI_TIRS"
    satellite: int = 8
    collection: int = 2
    level: str = "L1TP"
    made: str = "20200908"
    size: tuple[int, int] = (36, 48)
    thermal_size: tuple[int, int] | None = None
    crs: str = "EPSG:32633"
    without: tuple[str, ...] = ()
    """Bands whose files are left out."""
    changes: Groups = field(default_factory=dict)
    """Values that replace or add to those of the metadata."""

    @property
    def id(self) -> str:
        """Product id."""
        letters = SENSORS[self.sensor][0]
        return (
            f"{letters}{self.satellite:02}_{self.level}_193024_20190704_{self.made}_"
            f"{self.collection:02}_T1"
        )

    @property
    def tags(self) -> list[str]:
        """Its bands, as the metadata name them."""
        bands = SENSORS[self.sensor][2]
        if self.level.startswith("L1"):
            return bands
        light = [band for band in bands if band not in (*THERMAL[self.sensor], "8", "9")]
        return [*light, "ST_B10" if self.sensor == "OLI_TIRS" else "ST_B6"]

    def file(self, tag: str) -> str:
        """File name of a band."""
        if tag.startswith("ST_"):
            return f"{self.id}_{tag}.TIF"
        return f"{self.id}_{'' if self.level.startswith('L1') else 'SR_'}B{tag}.TIF"

    @property
    def codes(self) -> dict[str, str]:
        """Keys of the metadata that name quality files."""
        if self.collection == 1:
            return {"FILE_NAME_BAND_QUALITY": f"{self.id}_BQA.TIF"}
        return {
            "FILE_NAME_QUALITY_L1_PIXEL": f"{self.id}_QA_PIXEL.TIF",
            "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{self.id}_QA_RADSAT.TIF",
        }

    @property
    def groups(self) -> Groups:
        """The metadata, grouped as in the collection."""
        found = _collection2(self) if self.collection == 2 else _collection1(self)
        for group, values in self.changes.items():
            found.setdefault(group, {}).update(values)
        return found

    def write(self, folder: Path, notations: Sequence[str] = ("txt",)) -> Path:
        """Files and metadata in FOLDER/ID; returns that directory."""
        target = folder / self.id
        target.mkdir(parents=True)
        dtype = SENSORS[self.sensor][1] if self.level.startswith("L1") else "uint16"
        for number, tag in enumerate(self.tags):
            size, pixel = self.size, 30.0
            if tag == "8":
                size, pixel = (2 * self.size[0], 2 * self.size[1]), 15.0
            if tag in THERMAL[self.sensor] and self.thermal_size:
                size, pixel = self.thermal_size, 60.0
            if tag not in self.without:
                write_band(target / self.file(tag), size, pixel, dtype, seed=number, crs=self.crs)
        for name in self.codes.values():
            write_band(target / name, self.size, 30.0, "uint16", seed=99, crs=self.crs, span=(0, 4))
        (target / f"{self.id}_ANG.txt").write_text("coefficients\n")
        write_metadata(target / f"{self.id}_MTL", self.groups, self.root, notations)
        return target

    @property
    def root(self) -> str:
        """Name of the outermost group."""
        return "LANDSAT_METADATA_FILE" if self.collection == 2 else "L1_METADATA_FILE"


def write_band(
    path: Path,
    size: tuple[int, int],
    pixel: float,
    dtype: str,
    *,
    seed: int,
    crs: str = "EPSG:32633",
    span: tuple[int, int] = (0, 250),
    bands: int = 1,
    **profile: object,
) -> Path:
    """A GeoTIFF of noise in strips of 8 rows."""
    # GDAL takes an MTL beside a file for a part of it, and deletes it with a file it writes anew
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(*span, (bands, *size)).astype(dtype)
    with rasterio.open(
        path, "w", driver="GTiff", height=size[0], width=size[1], count=bands, dtype=dtype,
        crs=crs, transform=rasterio.Affine(pixel, 0, 400000, 0, -pixel, 5700000),
        blockysize=8, **profile,
    ) as dataset:  # fmt: skip
        dataset.write(values)
    return path


def write_metadata(stem: Path, groups: Groups, root: str, notations: Sequence[str]) -> None:
    """STEM.txt, STEM.xml and STEM.json, as far as asked for."""
    if "txt" in notations:
        stem.with_name(f"{stem.name}.txt").write_text(odl(groups, root))
    if "xml" in notations:
        stem.with_name(f"{stem.name}.xml").write_bytes(xml(groups, root))
    if "json" in notations:
        stem.with_name(f"{stem.name}.json").write_text(json.dumps({root: groups}))


def odl(groups: Groups, root: str) -> str:
    """The notation of the .txt."""
    lines = [f"GROUP = {root}"]
    for name, values in groups.items():
        lines.append(f"  GROUP = {name}")
        lines += [f"    {key} = {_quoted(value)}" for key, value in values.items()]
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, f"END_GROUP = {root}", "END", ""])


def xml(groups: Groups, root: str) -> bytes:
    """The notation of the .xml."""
    top = ElementTree.Element(root)
    for name, values in groups.items():
        group = ElementTree.SubElement(top, name)
        for key, value in values.items():
            ElementTree.SubElement(group, key).text = value
    return bytes(ElementTree.tostring(top, encoding="UTF-8", xml_declaration=True))


def _quoted(value: str) -> str:
    try:
        float(value)
    except ValueError:
        return f'"{value}"'
    return value


def _image(product: Product) -> dict[str, str]:
    return {
        "SPACECRAFT_ID": f"LANDSAT_{product.satellite}",
        "SENSOR_ID": product.sensor,
        "WRS_PATH": "193",
        "WRS_ROW": "24",
        "DATE_ACQUIRED": "2019-07-04",
        "SCENE_CENTER_TIME": "10:02:33.1234567Z",
    }


def _sky() -> dict[str, str]:
    return {
        "CLOUD_COVER": "12.5",
        "CLOUD_COVER_LAND": "-1",
        "SUN_AZIMUTH": "-35.5",
        "SUN_ELEVATION": "58.25",
    }


def _place(product: Product) -> dict[str, str]:
    corners = {"UL": (51.4, 13.5), "UR": (51.5, 13.6), "LL": (51.3, 13.4), "LR": (51.2, 13.7)}
    found = {"REFLECTIVE_LINES": str(product.size[0]), "REFLECTIVE_SAMPLES": str(product.size[1])}
    for corner, (latitude, longitude) in corners.items():
        found[f"CORNER_{corner}_LAT_PRODUCT"] = str(latitude)
        found[f"CORNER_{corner}_LON_PRODUCT"] = str(longitude)
    return found


def _rescaling(product: Product) -> dict[str, str]:
    """Level 1: each band has a scale of its own, so that a mix-up shows."""
    found = {}
    for number, tag in enumerate(SENSORS[product.sensor][2], start=1):
        found |= {f"RADIANCE_MULT_BAND_{tag}": f"{number}.5E-02"}
        found |= {f"RADIANCE_ADD_BAND_{tag}": f"-{number}.25"}
        if tag not in THERMAL[product.sensor]:
            found |= {f"REFLECTANCE_MULT_BAND_{tag}": f"{number}.0E-05"}
            found |= {f"REFLECTANCE_ADD_BAND_{tag}": f"-0.{number}"}
    return found


def _largest(product: Product, tags: Sequence[str]) -> dict[str, str]:
    most = "65535" if SENSORS[product.sensor][1] == "uint16" else "255"
    return {f"QUANTIZE_CAL_MAX_BAND_{tag}": most for tag in tags}


def _collection1(product: Product) -> Groups:
    files = {f"FILE_NAME_BAND_{tag}": product.file(tag) for tag in product.tags}
    return {
        "METADATA_FILE_INFO": {
            "LANDSAT_SCENE_ID": "LC81930242019185LGN00",
            "LANDSAT_PRODUCT_ID": product.id,
            "COLLECTION_NUMBER": "01",
            "FILE_DATE": f"{product.made[:4]}-{product.made[4:6]}-{product.made[6:]}T01:02:03Z",
        },
        "PRODUCT_METADATA": {
            "DATA_TYPE": product.level,
            "COLLECTION_CATEGORY": "T1",
            **_image(product),
            **_place(product),
            **files,
            **product.codes,
        },
        "IMAGE_ATTRIBUTES": _sky(),
        "MIN_MAX_PIXEL_VALUE": _largest(product, product.tags),
        "RADIOMETRIC_RESCALING": _rescaling(product),
    }


def _collection2(product: Product) -> Groups:
    level1 = SENSORS[product.sensor][2]
    made = f"{product.made[:4]}-{product.made[4:6]}-{product.made[6:]}T01:02:03Z"
    found: Groups = {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": product.id,
            "PROCESSING_LEVEL": product.level,
            "COLLECTION_NUMBER": "02",
            "COLLECTION_CATEGORY": "T1",
            **{
                f"FILE_NAME_BAND_{tag}": product.file(tag)
                for tag in product.tags
            },
            **product.codes,
        },
        "IMAGE_ATTRIBUTES": {**_image(product), **_sky(), "NADIR_OFFNADIR": "OFFNADIR",
                             "ROLL_ANGLE": "-14.5", "WRS_TYPE": "2"},
        "PROJECTION_ATTRIBUTES": _place(product),
    }  # fmt: skip
    if product.level.startswith("L2"):
        found["LEVEL2_PROCESSING_RECORD"] = {"DATE_PRODUCT_GENERATED": made}
        light = [tag for tag in product.tags if not tag.startswith("ST_")]
        found["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = {
            **{f"REFLECTANCE_MULT_BAND_{tag}": "2.75e-05" for tag in light},
            **{f"REFLECTANCE_ADD_BAND_{tag}": "-0.2" for tag in light},
            **{f"QUANTIZE_CAL_MAX_BAND_{tag}": "65535" for tag in light},
        }
        (heat,) = [tag for tag in product.tags if tag.startswith("ST_")]
        found["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"] = {
            f"TEMPERATURE_MULT_BAND_{heat}": "0.00341802",
            f"TEMPERATURE_ADD_BAND_{heat}": "149.0",
            f"QUANTIZE_CAL_MAXIMUM_BAND_{heat}": "65535",
        }
    found["LEVEL1_PROCESSING_RECORD"] = {
        "LANDSAT_SCENE_ID": "LC81930242019185LGN00",
        "LANDSAT_PRODUCT_ID": product.id.replace("L2SP", "L1TP"),
        "DATE_PRODUCT_GENERATED": "2019-12-31T00:00:00Z" if "L2" in product.level else made,
        **{f"FILE_NAME_BAND_{tag}": f"level1_B{tag}.TIF" for tag in level1},
    }
    found["LEVEL1_MIN_MAX_PIXEL_VALUE"] = _largest(product, level1)
    found["LEVEL1_RADIOMETRIC_RESCALING"] = _rescaling(product)
    return found


def write_espa(folder: Path, *, product: str = "LC08_L1TP_193024_20190704_20190718_01_T1") -> Path:
    """Surface reflectance of Collection 1 as ESPA delivers it; returns its directory."""
    target = folder / "LC081930242019070401T1-SC20200101000000"
    target.mkdir(parents=True)
    bands = ""
    for number in (1, 2, 3, 4, 5, 6, 7):
        name = f"{product}_sr_band{number}.tif"
        write_band(target / name, (36, 48), 30.0, "int16", seed=number, span=(-50, 9000))
        bands += f"""
        <band product="sr_refl" source="toa_refl" name="sr_band{number}" category="image"
              data_type="INT16" nlines="36" nsamps="48" fill_value="-9999" saturate_value="20000"
              scale_factor="0.000100">
            <short_name>LC08SR</short_name>
            <file_name>{name}</file_name>
            <data_units>reflectance</data_units>
            <production_date>2020-01-0{number}T00:00:00Z</production_date>
        </band>"""
    for name, kind in (("pixel_qa", "uint16"), ("radsat_qa", "uint8")):
        file = f"{product}_{name}.tif"
        write_band(target / file, (36, 48), 30.0, kind, seed=7, span=(0, 4))
        bands += f"""
        <band product="level2_qa" source="level1" name="{name}" category="qa"
              data_type="{kind.upper()}" nlines="36" nsamps="48" fill_value="1">
            <file_name>{file}</file_name>
        </band>"""
    (target / f"{product}.xml").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<espa_metadata version="2.0" xmlns="http://espa.cr.usgs.gov/v2">
    <global_metadata>
        <data_provider>USGS/EROS</data_provider>
        <satellite>LANDSAT_8</satellite>
        <instrument>OLI_TIRS</instrument>
        <acquisition_date>2019-07-04</acquisition_date>
        <scene_center_time>10:02:33.1234567Z</scene_center_time>
        <level1_production_date>2019-07-18T00:00:00Z</level1_production_date>
        <solar_angles zenith="31.75" azimuth="145.5" units="degrees"/>
        <wrs system="2" path="193" row="24"/>
        <product_id>{product}</product_id>
        <bounding_coordinates>
            <west>13.4</west><east>13.7</east><north>51.5</north><south>51.2</south>
        </bounding_coordinates>
    </global_metadata>
    <bands>{bands}
    </bands>
</espa_metadata>
""")
    level1 = Product(collection=1)
    write_metadata(target / f"{product}_MTL", level1.groups, level1.root, ("txt",))
    return target
