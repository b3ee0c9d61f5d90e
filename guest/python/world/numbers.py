"""The numbers of errors are Linux's, as authors and their steps know them; those that this CPython was built with are WASI's.

So `OSError(2, …)` is a FileNotFoundError, and `error.errno == errno.ENOENT` holds for one that a step raised.
"""

from __future__ import annotations

import errno
import gc
import os
from typing import Any, Final

# In the order of their numbers, from 1; `-` where Linux has none.
_NAMES: Final = """
EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT
EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT
ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC
EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT
EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET
ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS
ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED
EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
"""
_ALIASES: Final = {"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}


def number_as_linux() -> None:
    """`errno`, `os.strerror`, and the classes that OSError chooses from by its number."""
    built = {name: number for name, number in vars(errno).items() if name.startswith("E")}
    own = {name: number for number, name in enumerate(_NAMES.split(), 1) if name != "-"}
    own.update({alias: own[name] for alias, name in _ALIASES.items()})
    texts = {own[name]: os.strerror(number) for name, number in built.items() if name in own}
    # What OSError looks into: a dict of the interpreter's that no module has.
    classes: dict[int, Any] = next(
        one for one in gc.get_referrers(FileNotFoundError) if type(one) is dict and built["ENOENT"] in one
    )
    kinds = {own[name]: classes[number] for name, number in built.items() if name in own and number in classes}
    classes.clear()
    classes.update(kinds)
    vars(errno).update(own)
    names: Any = errno.errorcode
    names.clear()
    names.update({number: name for name, number in own.items() if name != "EWOULDBLOCK"})
    os.strerror = lambda number, /: texts.get(number, f"Unknown error {number}")
