import phonenumbers
from phonenumbers import geocoder


def program():
    number = phonenumbers.parse("030 901820", "DE")
    return [
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        phonenumbers.is_valid_number(number),
        geocoder.description_for_number(number, "en"),
        phonenumbers.region_code_for_number(number),
    ]
