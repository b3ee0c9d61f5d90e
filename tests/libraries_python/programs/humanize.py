from datetime import datetime, timedelta

import humanize


def program():
    when = datetime(2026, 1, 1)
    return [
        humanize.intcomma(1234567),
        humanize.naturalsize(3_000_000),
        humanize.naturaldelta(timedelta(days=400)),
        humanize.naturaltime(when - timedelta(hours=3), when=when),
        humanize.ordinal(22),
        humanize.precisedelta(3661),
        humanize.fractional(0.3),
    ]
