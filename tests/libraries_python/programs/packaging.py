from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version


def program():
    found = Requirement("cloche[http]>=1,<2; python_version > '3'")
    return [
        str(max(map(Version, ["1.10", "1.9", "1.10rc1"]))),
        "1.5" in SpecifierSet("~=1.4"),
        found.name,
        sorted(found.extras),
        Marker("python_version > '2'").evaluate(),
    ]
