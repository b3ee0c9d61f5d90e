import mpmath


def program():
    mpmath.mp.dps = 40
    return [
        str(mpmath.pi),
        str(mpmath.zeta(3)),
        str(mpmath.findroot(mpmath.cos, 1)),
        str(mpmath.quad(mpmath.exp, [0, 1])),
    ]
