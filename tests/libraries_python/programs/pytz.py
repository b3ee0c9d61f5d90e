from datetime import datetime

import pytz


def program():
    berlin = pytz.timezone("Europe/Berlin")
    return [
        str(berlin.localize(datetime(2026, 7, 1, 12))),
        str(pytz.utc.localize(datetime(2026, 1, 1)).astimezone(pytz.timezone("Asia/Tokyo"))),
        len(pytz.all_timezones) > 400,
    ]
