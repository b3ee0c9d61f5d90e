import sys

RATE = 3


def console() -> object:
    if sys.platform == "elsewhere":
        from codegen.shop_for_tests.elsewhere.console import screen

        return screen
    return None
