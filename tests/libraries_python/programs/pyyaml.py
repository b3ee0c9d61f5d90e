import yaml

TEXT = """
order: {id: 7, paid: 2026-01-02, lines: [{sku: a, n: 2}, {sku: b, n: 1}]}
notes: |
  first
  second
"""


def program():
    read = yaml.safe_load(TEXT)
    return [
        str(read["order"].pop("paid")),
        read,
        yaml.safe_dump(read, sort_keys=True),
        yaml.safe_load("&a [1, *a]".replace("*a", "2")),
    ]
