"""Programs with popular pure-Python libraries, baked into a guest and in ordinary CPython: the same answers?"""
