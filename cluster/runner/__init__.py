"""The commands behind `mien add`, `search`, `run` and `verify`."""
