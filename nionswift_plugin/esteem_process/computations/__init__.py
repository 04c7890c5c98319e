"""Computations, one file each."""
