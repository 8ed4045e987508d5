"""Datasets from the object store to hosts: proved, resumable, without landing on this machine's disk.

::

    delivery   what is missing there, in which order, again after a lost connection
     ├ place   the folder at the host: one round trip per question (`scripts` is what runs there)
     ├ stream  objects → tar → the open connection (`reading`, `archive`, `session`)
     └ pull    the host fetches by presigned addresses
    queue      the catalogue's own entries ``transfer-dataset`` (`rest`, or the Anemoi client)
"""
