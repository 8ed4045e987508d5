"""Reach a machine, submit, ask and kill jobs there; facts of machines are in hosts/*.yaml."""
