from sortedcontainers import SortedDict, SortedKeyList, SortedList


def program():
    numbers = SortedList(i * 7919 % 1000 for i in range(2000))
    return [
        list(numbers[:5]),
        numbers.bisect(500),
        list(SortedDict(b=1, a=2)),
        list(SortedKeyList("bBaA", key=str.lower)),
    ]
