#!/usr/bin/env python3
"""Make one CF NetCDF file of the January 1996 blizzard: what the recipe of the demo reads.

usage: storm1996.py FOLDER_WITH_CDF OUT.nc

The six-hourly analyses over North America (5-20 January 1996, 1.25 x 2.5 degrees) come with the examples of NCL
(Debian package libncarg-data, NCAR, BSD-style licence) as six files, one per variable: pressure at mean sea level, T, u
and v near the surface, u and v at 500 hPa; 64 steps on 33 x 36 points, of which 964 lie inside the analysed area.

Only those 964 points are written, as an unstructured grid with the dimension "cell"; nothing is interpolated or
filled. T has no field at step 17, v none at 17 and 37, v500 none at 36: these stay NaN, and the recipe lists their
dates as missing.

Needs numpy and netCDF4. The same input gives the same bytes. The file appears whole or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path
from typing import NamedTuple


class Source(NamedTuple):
    """One variable of the output and where it is found."""

    file: str
    sha256: str
    variable: str
    units: str
    standard_name: str


SOURCES = {
    "msl": Source(
        "Pstorm.cdf",
        "b788360247015255de8eb46c4e2be04ea06d7713c2f4af9c85820e568506e934",
        "p",
        "Pa",
        "air_pressure_at_mean_sea_level",
    ),
    "t": Source(
        "Tstorm.cdf",
        "85c860ea1b0815505fc006c4e2156791d7d855ec6957e50830bab4fc10ea7996",
        "t",
        "K",
        "air_temperature",
    ),
    "u": Source(
        "Ustorm.cdf",
        "bc48e58747245f9218c86b840ebbd1512326f654a2fab954d4704442b62a82ba",
        "u",
        "m s-1",
        "eastward_wind",
    ),
    "v": Source(
        "Vstorm.cdf",
        "c35ade1ba2fd89eb62fd694d0280190e870731f56bf77ba0056c9b420854ed5c",
        "v",
        "m s-1",
        "northward_wind",
    ),
    "u500": Source(
        "U500storm.cdf",
        "6175dbcdc27b0435e4f7aaaf0902ad842abc0994a2c2e7d58cf21b499b1ca915",
        "u",
        "m s-1",
        "eastward_wind",
    ),
    "v500": Source(
        "V500storm.cdf",
        "bd991a911fc8b6d452d9ee0a9080c700d2be91049a24112ed3825d63b660a5a4",
        "v",
        "m s-1",
        "northward_wind",
    ),
}
TITLE = "North American blizzard of January 1996, six-hourly analyses (NCL example data)"


def check_sources(folder: Path) -> list[str]:
    """Return what is wrong with the six files: missing, or other bytes than the ones this step was written for."""
    wrong = []
    for source in SOURCES.values():
        path = folder / source.file
        if not path.is_file():
            wrong.append(f"{path} is missing")
        elif (found := hashlib.sha256(path.read_bytes()).hexdigest()) != source.sha256:
            wrong.append(f"{path} has sha256 {found}, expected {source.sha256}")
    return wrong


def write_netcdf(folder: Path, out: Path) -> None:
    """Read the six files in FOLDER and write OUT."""
    import netCDF4
    import numpy as np

    fields = {}
    for name, source in SOURCES.items():
        with netCDF4.Dataset(folder / source.file) as d:
            fields[name] = np.ma.filled(d[source.variable][:].astype("f4"), np.nan)
            latitude, longitude, hours = (np.asarray(d[v][:]) for v in ("lat", "lon", "timestep"))
    inside = np.logical_and.reduce([(~np.isnan(x)).any(axis=0) for x in fields.values()])
    latitudes, longitudes = np.meshgrid(latitude, longitude, indexing="ij")
    with netCDF4.Dataset(out, "w") as o:
        o.Conventions, o.title = "CF-1.8", TITLE
        o.createDimension("time", len(hours))
        o.createDimension("cell", int(inside.sum()))
        time = o.createVariable("time", "f8", ("time",))
        time.units, time.calendar, time.standard_name = "hours since 1996-01-05 00:00:00", "standard", "time"
        time[:] = hours
        for name, values, units in (
            ("latitude", latitudes[inside], "degrees_north"),
            ("longitude", longitudes[inside] % 360, "degrees_east"),
        ):
            coordinate = o.createVariable(name, "f4", ("cell",))
            coordinate.units, coordinate.standard_name = units, name
            coordinate[:] = values
        for name, source in SOURCES.items():
            field = o.createVariable(name, "f4", ("time", "cell"), zlib=True, fill_value=np.float32(np.nan))
            field.units, field.standard_name = source.units, source.standard_name
            field.coordinates = "latitude longitude"
            field[:] = fields[name][:, inside]


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the six *storm.cdf files")
    parser.add_argument("out", type=Path, help="NetCDF file to write")
    arguments = parser.parse_args()
    if wrong := check_sources(arguments.folder):
        print("error:", "\n       ".join(wrong), file=sys.stderr)
        return 1
    temporary = arguments.out.with_name(f".{arguments.out.name}.{os.getpid()}")
    try:
        write_netcdf(arguments.folder, temporary)
        temporary.replace(arguments.out)
    finally:
        temporary.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
