"""Speech recognition with linear-time token mixing, that one GPU trains and one laptop runs."""

__version__ = "0.1.0"
