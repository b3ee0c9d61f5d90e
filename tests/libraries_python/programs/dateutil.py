from datetime import datetime

from dateutil import parser, relativedelta, rrule, tz


def program():
    begin = datetime(2026, 1, 31)
    berlin = tz.gettz("Europe/Berlin")
    return [
        [str(one) for one in rrule.rrule(rrule.MONTHLY, count=4, dtstart=begin, bymonthday=-1)],
        str(parser.parse("3rd of March 2026 5pm UTC")),
        str(begin + relativedelta.relativedelta(months=1)),
        str(datetime(2026, 7, 1, tzinfo=berlin)),
    ]
