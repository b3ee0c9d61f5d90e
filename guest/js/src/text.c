/* Lone surrogates and RFC 3339: the text forms that are JavaScript's own. */
#include <string.h>

#include "guest.h"

void text_mend(char *text, size_t size) {
    char *end = text + size, *at = text;
    while (end - at >= 3 && (at = memchr(at, 0xed, (size_t)(end - at) - 2))) {
        if ((uint8_t)at[1] >= 0xa0)
            memcpy(at, "\xef\xbf\xbd", 3);
        at += 3;
    }
}

/* ---- timestamps, in the proleptic Gregorian calendar ---- */

static int64_t days_before_year(int64_t year) {
    int64_t y = year - 1;
    return y * 365 + y / 4 - y / 100 + y / 400;
}

static bool is_leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

static const int16_t days_before_month[13] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static int month_start(int64_t year, int month) { return days_before_month[month] + (month >= 2 && is_leap(year)); }

enum { EPOCH_DAY = 719162 }; /* days before 1970-01-01, counted from 0001-01-01 */

int64_t day_number(int64_t year, int month, int day) {
    int64_t days = days_before_year(year) - EPOCH_DAY + day - 1;
    return days + (month == 1 ? 0 : month_start(year, month - 1));
}

int64_t year_of_day(int64_t day) {
    day += EPOCH_DAY;
    int64_t year = 1 + day / 366; /* a lower bound; at most a few years short */
    while (days_before_year(year + 1) <= day)
        year += 1 + (day - days_before_year(year + 1)) / 366;
    return year;
}

static int digits(const char **at, const char *end, int count) {
    int value = 0;
    if (end - *at < count)
        return -1;
    for (int i = 0; i < count; i++) {
        char c = *(*at)++;
        if (c < '0' || c > '9')
            return -1;
        value = value * 10 + (c - '0');
    }
    return value;
}

static bool literal(const char **at, const char *end, char wanted) {
    if (*at == end || **at != wanted)
        return false;
    (*at)++;
    return true;
}

/* Milliseconds of ".123456"; finer digits are cut. -1: none follows the point, or more than nine. */
static int fraction_ms(const char **at, const char *end) {
    int ms = 0, count = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, count++)
        if (count < 3)
            ms = ms * 10 + (**at - '0');
    if (count < 1 || count > 9)
        return -1;
    for (; count < 3; count++)
        ms *= 10;
    return ms;
}

static int offset_minutes(const char **at, const char *end, int *minutes) {
    int sign, hour, minute;
    *minutes = 0;
    if (literal(at, end, 'Z'))
        return 0;
    sign = literal(at, end, '+') ? 1 : literal(at, end, '-') ? -1 : 0;
    hour = digits(at, end, 2);
    if (!sign || hour < 0 || hour > 23 || !literal(at, end, ':'))
        return -1;
    minute = digits(at, end, 2);
    if (minute < 0 || minute > 59)
        return -1;
    *minutes = sign * (hour * 60 + minute);
    return 0;
}

int timestamp_read(const char *text, size_t size, double *ms) {
    const char *at = text, *end = text + size;
    int year, month, day, hour, minute, second, fraction = 0, offset;
    year = digits(&at, end, 4);
    if (year < 1 || !literal(&at, end, '-')) /* the host's calendar has no year 0 */
        return -1;
    month = digits(&at, end, 2);
    if (month < 1 || month > 12 || !literal(&at, end, '-'))
        return -1;
    day = digits(&at, end, 2);
    if (day < 1 || day > month_start(year, month) - (month == 1 ? 0 : month_start(year, month - 1)) ||
        !literal(&at, end, 'T'))
        return -1;
    hour = digits(&at, end, 2);
    if (hour < 0 || hour > 23 || !literal(&at, end, ':'))
        return -1;
    minute = digits(&at, end, 2);
    if (minute < 0 || minute > 59 || !literal(&at, end, ':'))
        return -1;
    second = digits(&at, end, 2);
    if (second < 0 || second > 59)
        return -1;
    if (literal(&at, end, '.') && (fraction = fraction_ms(&at, end)) < 0)
        return -1;
    if (offset_minutes(&at, end, &offset) || at != end)
        return -1;
    int64_t days = day_number(year, month, day);
    *ms = (double)((((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + fraction);
    return 0;
}

bool timestamp_is_finer(const char *text, size_t size) {
    const char *point = memchr(text, '.', size), *end = text + size;
    for (const char *at = point ? point + 1 : end; at < end && *at >= '0' && *at <= '9'; at++)
        if (at - point > 3 && *at != '0')
            return true;
    return false;
}

static void put_digits(char *at, int count, int64_t value) {
    while (count--) {
        at[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

int timestamp_write(double ms, char text[TIMESTAMP_BYTES]) {
    /* 0001-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z: what RFC 3339 and the host can say. NaN fails both comparisons. */
    if (!(ms >= -62135596800000.0 && ms <= 253402300799999.0))
        return -1;
    int64_t from_year_one = (int64_t)ms + 62135596800000;
    int64_t day = from_year_one / 86400000, rest = from_year_one % 86400000;
    int64_t year = year_of_day(day - EPOCH_DAY);
    day -= days_before_year(year);
    int month = 1;
    while (month_start(year, month) <= day)
        month++;
    day -= month == 1 ? 0 : month_start(year, month - 1);
    memcpy(text, "0000-00-00T00:00:00.000Z", TIMESTAMP_BYTES);
    put_digits(text, 4, year);
    put_digits(text + 5, 2, month);
    put_digits(text + 8, 2, day + 1);
    put_digits(text + 11, 2, rest / 3600000);
    put_digits(text + 14, 2, rest / 60000 % 60);
    put_digits(text + 17, 2, rest / 1000 % 60);
    put_digits(text + 20, 3, rest % 1000);
    return 0;
}
