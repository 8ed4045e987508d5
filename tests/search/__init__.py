"""Studies that run on this machine."""
