from importlib.resources import files

import tzdata


def program():
    zone = files("tzdata").joinpath("zoneinfo", "Europe", "Berlin").read_bytes()
    return [zone[:4].decode(), len(zone) > 500, tzdata.IANA_VERSION[:2]]
