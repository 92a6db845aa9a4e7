"""Zarr stores."""


def claims(uri: str) -> bool:
    return False
