from toolz import curry, frequencies, groupby, pipe, thread_last


@curry
def add(a, b):
    return a + b


def program():
    return [
        sorted(groupby(len, ["a", "bb", "c"]).items()),
        frequencies("abca"),
        pipe(3, add(1), str),
        thread_last([1, 2, 3], (map, add(1)), list),
    ]
