"""Fleets and clusters that are folders."""
