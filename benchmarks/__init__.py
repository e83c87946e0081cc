"""Measurements of the toolkit; not part of the installed package."""
