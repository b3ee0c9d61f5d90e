import more_itertools as more


def program():
    return [
        list(more.chunked(range(7), 3)),
        list(more.windowed("abcd", 2)),
        more.first([], 9),
        dict(
            more.map_reduce("aAb", str.lower, len, sum)
            if False
            else more.map_reduce("aab", str.upper, lambda one: 1, sum)
        ),
    ]
