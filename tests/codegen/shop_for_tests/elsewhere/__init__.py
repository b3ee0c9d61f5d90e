import sys

assert sys.platform == "elsewhere"
