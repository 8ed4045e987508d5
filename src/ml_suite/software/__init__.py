"""What jobs need on a host that may see no internet: wheels or an image, shipped, checked and installed there.

`place.environment_path` says beforehand where it will be, `prepare.prepare` puts it there.
"""
