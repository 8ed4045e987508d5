"""Runs a study of a table of samples on this machine, with or without others that share its folder."""
