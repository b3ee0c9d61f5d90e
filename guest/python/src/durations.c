/* Durations: `timedelta` as ISO 8601 writes it, and as pydantic does: P3DT2H0.5S. Here, for in
 * Python they take five times as long as any other scalar. */
#include <string.h>

#include "guest.h"

enum { DAY_S = 86400, SECOND_US = 1000000, FRACTION_DIGITS = 6, DAYS_MAX = 999999999, TEXT_MAX = 48 };

static struct {
    PyObject *days, *seconds, *microseconds;
} names;

static struct datetime_api *api;

int durations_define(void) {
    api = PyCapsule_Import("datetime.datetime_CAPI", 0);
    names.days = PyUnicode_InternFromString("days");
    names.seconds = PyUnicode_InternFromString("seconds");
    names.microseconds = PyUnicode_InternFromString("microseconds");
    return api && names.days && names.seconds && names.microseconds ? 0 : -1;
}

bool is_duration(PyObject *o) { return o->type == api->delta; }

/* ---- out ---- */

static int64_t field(PyObject *o, PyObject *name) {
    int overflow;
    PyObject *value = PyObject_GetAttr(o, name);
    long long found = value ? PyLong_AsLongLongAndOverflow(value, &overflow) : 0;
    Py_DecRef(value);
    return found;
}

static char *put_number(char *at, int64_t value) {
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *at++ = digits[--count];
    return at;
}

static char *put_part(char *at, int64_t value, char unit) {
    if (!value)
        return at;
    at = put_number(at, value);
    *at++ = unit;
    return at;
}

static char *put_fraction(char *at, int64_t microseconds) {
    if (!microseconds)
        return at;
    *at++ = '.';
    for (int64_t unit = SECOND_US / 10; microseconds; unit /= 10) {
        *at++ = (char)('0' + microseconds / unit);
        microseconds %= unit;
    }
    return at;
}

/* Python keeps a negative one as days below zero, and seconds of a day above. */
static bool made_positive(int64_t *days, int64_t *seconds, int64_t *microseconds) {
    if (*days >= 0)
        return false;
    int64_t borrow = *microseconds ? 1 : 0;
    *microseconds = borrow ? SECOND_US - *microseconds : 0;
    int64_t left = DAY_S - *seconds - borrow;
    *days = left == DAY_S ? -*days : -*days - 1;
    *seconds = left == DAY_S ? 0 : left;
    return true;
}

int write_duration(PyObject *value) {
    char text[TEXT_MAX], *at = text;
    int64_t days = field(value, names.days), seconds = field(value, names.seconds);
    int64_t microseconds = field(value, names.microseconds);
    if (PyErr_Occurred())
        return -1;
    if (made_positive(&days, &seconds, &microseconds))
        *at++ = '-';
    *at++ = 'P';
    at = put_part(at, days, 'D');
    if (seconds || microseconds || !days) {
        *at++ = 'T';
        at = put_part(at, seconds / 3600, 'H');
        at = put_part(at, seconds / 60 % 60, 'M');
        if (seconds % 60 || microseconds || (!days && !seconds)) {
            at = put_fraction(put_number(at, seconds % 60), microseconds);
            *at++ = 'S';
        }
    }
    return write_text(text, (size_t)(at - text));
}

/* ---- in ---- */

/* Digits as a number; -1 where there are none, or too many for any duration. */
static int64_t take_number(const char **at) {
    int64_t value = -1;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        value = (value < 0 ? 0 : value) * 10 + (**at - '0');
        if (value > (int64_t)DAYS_MAX * DAY_S)
            return -1;
    }
    return value;
}

/* What follows the point, as microseconds; -1 where it is no such. */
static int64_t take_fraction(const char **at) {
    int64_t value = 0, digits = 0;
    for (; **at >= '0' && **at <= '9' && digits < FRACTION_DIGITS; ++*at, ++digits)
        value = value * 10 + (**at - '0');
    if (!digits)
        return -1;
    while (digits++ < FRACTION_DIGITS)
        value *= 10;
    return value;
}

struct parts {
    int64_t days, seconds, microseconds;
};

/* One number with its unit. `units` are those that may still come; years and months are as long as pydantic takes them. */
static int take_part(const char **at, const char **units, bool in_clock, struct parts *p) {
    static const int days_of[] = {['Y'] = 365, ['M'] = 30, ['W'] = 7, ['D'] = 1};
    static const int seconds_of[] = {['H'] = 3600, ['M'] = 60, ['S'] = 1};
    int64_t value = take_number(at), fraction = 0;
    if (value >= 0 && in_clock && **at == '.') {
        ++*at;
        fraction = take_fraction(at);
        if (**at != 'S')
            return -1;
    }
    const char *unit = value < 0 || fraction < 0 || !**at ? NULL : strchr(*units, **at);
    if (!unit)
        return -1;
    *units = unit + 1;
    ++*at;
    p->days += in_clock ? 0 : value * days_of[(int)*unit];
    p->seconds += in_clock ? value * seconds_of[(int)*unit] : 0;
    p->microseconds += fraction;
    return 0;
}

static int take_parts(const char *at, struct parts *p) {
    const char *units = "YMWD";
    bool in_clock = false;
    if (*at++ != 'P')
        return -1;
    while (*at) {
        if (*at == 'T' && !in_clock) {
            in_clock = true;
            units = "HMS";
            at++;
        } else if (take_part(&at, &units, in_clock, p)) {
            return -1;
        }
    }
    return 0;
}

PyObject *duration(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    Py_ssize_t size;
    struct parts p = {0, 0, 0};
    (void)self;
    const char *text = count == 1 ? PyUnicode_AsUTF8AndSize(arguments[0], &size) : NULL;
    if (!text)
        return PyErr_Occurred() ? NULL : wrong_use("wanted: the text of a duration");
    int sign = *text == '-' ? -1 : 1;
    if (take_parts(text + (*text == '-' || *text == '+'), &p)) {
        PyErr_Format(guest.value_error, "%R is no duration", arguments[0]);
        return NULL;
    }
    p.days += p.seconds / DAY_S;
    if (p.days > DAYS_MAX + 1) /* which the class refuses */
        p.days = DAYS_MAX + 1;
    return api->of_delta(sign * (int)p.days, sign * (int)(p.seconds % DAY_S), sign * (int)p.microseconds, 1, api->delta);
}
