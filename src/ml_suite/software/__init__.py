"""What jobs need on a host that may see no internet: wheels or an image, shipped, checked and installed there."""
