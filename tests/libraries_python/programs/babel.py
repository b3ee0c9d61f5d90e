from datetime import date

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal


def program():
    return [
        format_decimal(1234.5, locale="de_DE"),
        format_currency(9.5, "EUR", locale="fr_FR"),
        format_date(date(2026, 1, 2), "full", locale="es"),
        Locale("ja").get_display_name("en"),
    ]
