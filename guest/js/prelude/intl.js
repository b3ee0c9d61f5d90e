// Intl for English (en, en-US), the Gregorian calendar and the time zones of IANA; `toLocaleString` and `localeCompare` go through
// it. What is not known here (other locales, calendars, long names of zones, rare options) is a RangeError: a wrong answer would be
// worse.
(cloche) => {
  "use strict";

  const { zoneOf, zoneAt, zoneNames } = cloche;
  const { unbound, hide, define, tag, push } = cloche.own;
  const { now } = Date;
  const { floor, abs, trunc } = Math;
  const { isArray } = Array;
  const { isFinite } = Number;
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const { construct } = Reflect;
  const [RangeErrorOf, TypeErrorOf, StringOf, NumberOf] = [RangeError, TypeError, String, Number];
  const [slice, indexOf, toLowerCase, toUpperCase, normalize, padStart, codeAt] = [
    String.prototype.slice, String.prototype.indexOf, String.prototype.toLowerCase, String.prototype.toUpperCase,
    String.prototype.normalize, String.prototype.padStart, String.prototype.charCodeAt,
  ].map((method) => unbound(method));
  const [timeOf, yearOf, monthOf, dayOf, weekdayOf, hourOf, minuteOf, secondOf, msOf] = [
    Date.prototype.getTime, Date.prototype.getUTCFullYear, Date.prototype.getUTCMonth, Date.prototype.getUTCDate,
    Date.prototype.getUTCDay, Date.prototype.getUTCHours, Date.prototype.getUTCMinutes, Date.prototype.getUTCSeconds,
    Date.prototype.getUTCMilliseconds,
  ].map((method) => unbound(method));
  const [exponentialOf, numberOf, bigintOf, bigintText] = [
    Number.prototype.toExponential, Number.prototype.valueOf, BigInt.prototype.valueOf, BigInt.prototype.toString,
  ].map((method) => unbound(method));
  const [DateOf] = [Date];

  const refuse = (what, value) => {
    throw new RangeErrorOf("Intl has no " + what + " " + StringOf(value) + " under glass: en and en-US, the Gregorian calendar and the zones of IANA are there");
  };
  const isOneOf = (list, value) => {
    for (let i = 0; i < list.length; i++) if (list[i] === value) return true;
    return false;
  };
  const option = (options, name, values, otherwise) => {
    const value = options?.[name];
    if (value === undefined) return otherwise;
    const text = StringOf(value);
    if (values !== undefined && !isOneOf(values, text)) refuse(name, text);
    return text;
  };
  const numberOption = (options, name, least, most, otherwise) => {
    const value = options?.[name];
    if (value === undefined) return otherwise;
    const number = NumberOf(value);
    if (!(number >= least && number <= most)) throw new RangeErrorOf(name + " value is out of range.");
    return floor(number);
  };
  const known = (options, names) => {
    for (let i = 0; i < names.length; i++) if (options?.[names[i]] !== undefined) refuse("option", names[i]);
  };

  // ── locales ───────────────────────────────────────────────────────────────────────────────────────────────────────────
  const canonical = (tag) => {
    if (typeof tag !== "string" && (typeof tag !== "object" || tag === null)) throw new TypeErrorOf("a locale is a text");
    const text = toLowerCase(StringOf(tag));
    for (let i = 0, size = 0; i <= text.length; i++) {
      const c = i < text.length ? text[i] : "-";
      if (c === "-" ? size < (i === size ? 2 : 1) || size > 8 : !((c >= "a" && c <= "z") || (c >= "0" && c <= "9"))) {
        throw new RangeErrorOf("Incorrect locale information provided");
      }
      size = c === "-" ? 0 : size + 1;
    }
    const dash = indexOf(text, "-");
    if (dash < 0) return text;
    const rest = slice(text, dash + 1);
    const isRegion = rest.length === 2 || rest[2] === "-";
    return slice(text, 0, dash + 1) + (isRegion ? toUpperCase(slice(rest, 0, 2)) + slice(rest, 2) : rest);
  };
  const canonicals = (locales) => {
    const all = [];
    if (locales === undefined) return all;
    if (typeof locales === "string" || locales instanceof Locale) push(all, canonical(locales));
    else for (let i = 0; i < locales.length; i++) push(all, canonical(locales[i]));
    return all;
  };
  // A calendar that a locale asks for (`-u-ca-…`) and that is not there is left out, as the standard says; the option is refused.
  const withoutCalendar = (tag) => {
    const at = indexOf(tag, "-u-ca-");
    return at < 0 ? tag : slice(tag, 0, at);
  };
  const isKnown = (tag) => withoutCalendar(tag) === "en" || withoutCalendar(tag) === "en-US";
  const localeOf = (locales) => {
    const all = canonicals(locales);
    if (all.length === 0) return "en-US";
    for (let i = 0; i < all.length; i++) if (isKnown(all[i])) return withoutCalendar(all[i]);
    refuse("locale", all[0]);
  };
  const supported = (locales) => {
    const all = canonicals(locales);
    const found = [];
    for (let i = 0; i < all.length; i++) if (isKnown(all[i])) push(found, all[i]);
    return found;
  };
  class Locale {
    #tag;
    constructor(tag) {
      this.#tag = canonical(tag);
    }
    get baseName() {
      return this.#tag;
    }
    get language() {
      const dash = indexOf(this.#tag, "-");
      return dash < 0 ? this.#tag : slice(this.#tag, 0, dash);
    }
    get region() {
      const dash = indexOf(this.#tag, "-");
      return dash < 0 || this.#tag.length !== dash + 3 ? undefined : slice(this.#tag, dash + 1);
    }
    toString() {
      return this.#tag;
    }
  }

  const textOf = (parts) => {
    let text = "";
    for (let i = 0; i < parts.length; i++) text += parts[i].value;
    return text;
  };
  const part = (type, value) => ({ type, value });
  const add = (parts, type, value) => {
    if (value !== "") push(parts, part(type, value));
  };

  // ── numbers: the shortest decimal that names the number, rounded half away from zero ─────────────────────────────────
  // {negative, digits, point}: 0.digits × 10^point.
  const decimalOf = (value) => {
    if (typeof value === "bigint") {
      const text = bigintText(value < 0n ? -value : value);
      return { negative: value < 0n, digits: text, point: text.length };
    }
    const text = exponentialOf(abs(value));
    const e = indexOf(text, "e");
    const digits = text[0] + (e > 1 ? slice(text, 2, e) : "");
    return { negative: value < 0 || (value === 0 && 1 / value < 0), digits: value === 0 ? "" : digits, point: value === 0 ? 0 : NumberOf(slice(text, e + 1)) + 1 };
  };
  const roundedAt = (decimal, count) => {
    const { negative, digits, point } = decimal;
    if (count >= digits.length) return decimal;
    if (count < 0) return { negative, digits: "", point: 0 };
    let kept = slice(digits, 0, count);
    if (digits[count] < "5") return { negative, digits: kept, point };
    let at = count - 1;
    while (at >= 0 && kept[at] === "9") at--;
    kept = at < 0 ? "1" : slice(kept, 0, at) + StringOf(NumberOf(kept[at]) + 1);
    return { negative, digits: kept, point: at < 0 ? point + 1 : point };
  };
  const zeros = (count) => (count > 0 ? padStart("", count, "0") : "");
  // The integer and the fraction, as texts, of a decimal rounded as `how` says.
  const rounded = (decimal, how) => {
    const round = how.significantMax !== undefined
      ? roundedAt(decimal, how.significantMax)
      : roundedAt(decimal, decimal.point + how.fractionMax);
    const { digits, point } = round;
    let whole = point > 0 ? slice(digits, 0, point) + zeros(point - digits.length) : "";
    let fraction = point < 0 ? zeros(-point) + digits : slice(digits, point);
    while (fraction !== "" && fraction[fraction.length - 1] === "0") fraction = slice(fraction, 0, -1);
    let least = how.fractionMin;
    if (how.significantMax !== undefined) {
      least = how.significantMin - (digits === "" ? 1 : point);
    }
    if (fraction.length < least) fraction += zeros(least - fraction.length);
    whole = padStart(whole, how.integerMin, "0");
    return { whole, fraction, isZero: digits === "", point };
  };

  const NO_MINOR = ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"];
  const THREE_MINOR = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
  const SYMBOLS = {
    __proto__: null, USD: "$", EUR: "€", GBP: "£", JPY: "¥", INR: "₹", CNY: "CN¥", KRW: "₩", BRL: "R$", CAD: "CA$", AUD: "A$", MXN: "MX$",
    NZD: "NZ$", HKD: "HK$", TWD: "NT$", ILS: "₪", VND: "₫", PHP: "₱", XAF: "FCFA", XCD: "EC$", XPF: "CFPF",
  };
  // One, many, short one, short many, narrow.
  const UNITS = {
    __proto__: null,
    year: [" year", " years", " yr", " yrs", "y"], month: [" month", " months", " mth", " mths", "m"],
    week: [" week", " weeks", " wk", " wks", "w"], day: [" day", " days", " day", " days", "d"],
    hour: [" hour", " hours", " hr", " hr", "h"], minute: [" minute", " minutes", " min", " min", "m"],
    second: [" second", " seconds", " sec", " sec", "s"], millisecond: [" millisecond", " milliseconds", " ms", " ms", "ms"],
    byte: [" byte", " bytes", " byte", " byte", "B"], kilobyte: [" kilobyte", " kilobytes", " kB", " kB", "kB"],
    megabyte: [" megabyte", " megabytes", " MB", " MB", "MB"], gigabyte: [" gigabyte", " gigabytes", " GB", " GB", "GB"],
    kilometer: [" kilometer", " kilometers", " km", " km", "km"], meter: [" meter", " meters", " m", " m", "m"],
    gram: [" gram", " grams", " g", " g", "g"], kilogram: [" kilogram", " kilograms", " kg", " kg", "kg"],
    liter: [" liter", " liters", " L", " L", "L"], percent: [" percent", " percent", "%", "%", "%"],
    mile: [" mile", " miles", " mi", " mi", "mi"],
  };
  const COMPACT = ["", "K", "M", "B", "T"];
  const COMPACT_LONG = ["", " thousand", " million", " billion", " trillion"];
  const GROUPS = ["always", "auto", "min2", "true", "false"];

  const digitsOf = (options, fractionMin, fractionMax, isCompact) => {
    const how = { integerMin: numberOption(options, "minimumIntegerDigits", 1, 21, 1), isCompact: false };
    const low = "minimumSignificantDigits";
    const high = "maximumSignificantDigits";
    if (options?.[low] !== undefined || options?.[high] !== undefined) {
      how.significantMin = numberOption(options, low, 1, 21, 1);
      how.significantMax = numberOption(options, high, how.significantMin, 21, 21);
      return how;
    }
    const least = numberOption(options, "minimumFractionDigits", 0, 100, undefined);
    const most = numberOption(options, "maximumFractionDigits", 0, 100, undefined);
    how.isCompact = isCompact && least === undefined && most === undefined;
    if (least !== undefined && most !== undefined && least > most) throw new RangeErrorOf("maximumFractionDigits value is out of range.");
    how.fractionMin = least ?? (most !== undefined && most < fractionMin ? most : fractionMin);
    how.fractionMax = most ?? (fractionMax > how.fractionMin ? fractionMax : how.fractionMin);
    return how;
  };

  class NumberFormat {
    #locale;
    #style;
    #currency;
    #display;
    #isAccounting;
    #unit;
    #unitDisplay;
    #group;
    #notation;
    #isLong;
    #sign;
    #how;
    #format;
    constructor(locales = undefined, options = undefined) {
      this.#locale = localeOf(locales);
      option(options, "numberingSystem", ["latn"]);
      known(options, ["roundingIncrement", "trailingZeroDisplay", "roundingPriority"]);
      option(options, "roundingMode", ["halfExpand"]);
      this.#style = option(options, "style", ["decimal", "percent", "currency", "unit"], "decimal");
      const currency = option(options, "currency", undefined, undefined);
      if (this.#style === "currency") {
        if (currency === undefined) throw new TypeErrorOf("Currency code is required with currency style.");
        if (currency.length !== 3) throw new RangeErrorOf("Invalid currency code : " + currency);
        this.#currency = toUpperCase(currency);
      }
      this.#display = option(options, "currencyDisplay", ["symbol", "code"], "symbol");
      this.#isAccounting = option(options, "currencySign", ["standard", "accounting"], "standard") === "accounting";
      this.#unit = option(options, "unit", undefined, undefined);
      this.#unitDisplay = option(options, "unitDisplay", ["long", "short", "narrow"], "short");
      if (this.#style === "unit") {
        if (this.#unit === undefined) throw new TypeErrorOf("Unit is required with unit style.");
        if (UNITS[this.#unit] === undefined) refuse("unit", this.#unit);
      }
      this.#notation = option(options, "notation", ["standard", "compact"], "standard");
      this.#isLong = option(options, "compactDisplay", ["short", "long"], "short") === "long";
      const group = options?.useGrouping;
      this.#group = group === undefined || group === "true" || group === "false" ? (this.#notation === "compact" ? "min2" : "auto")
        : group === true ? "always" : !group ? "false" : option(options, "useGrouping", GROUPS);
      this.#sign = option(options, "signDisplay", ["auto", "always", "never", "exceptZero", "negative"], "auto");
      const isMoney = this.#style === "currency" && this.#notation === "standard";
      const minor = !isMoney ? 0 : isOneOf(NO_MINOR, this.#currency) ? 0 : isOneOf(THREE_MINOR, this.#currency) ? 3 : 2;
      this.#how = digitsOf(options, minor, isMoney ? minor : this.#style === "percent" ? 0 : this.#notation === "compact" ? 0 : 3, this.#notation === "compact");
    }
    get format() {
      return (this.#format ??= (value) => textOf(this.formatToParts(value)));
    }
    formatToParts(value) {
      const parts = [];
      const number = typeof value === "bigint" ? value : NumberOf(value);
      const body = [];
      let decimal;
      if (typeof number === "number" && !isFinite(number)) {
        decimal = { negative: number < 0, isZero: false };
        push(body, number !== number ? part("nan", "NaN") : part("infinity", "∞"));
      } else {
        decimal = decimalOf(number);
        if (this.#style === "percent" && decimal.digits !== "") decimal = { ...decimal, point: decimal.point + 2 };
        decimal.isZero = this.#write(decimal, body);
      }
      this.#around(parts, body, decimal, number !== number);
      return parts;
    }
    // The digits; whether they are all zero.
    #write(decimal, body) {
      const how = this.#how;
      let shift = 0;
      if (this.#notation === "compact") {
        const shortened = (by) => {
          const moved = { ...decimal, point: decimal.point - by * 3 };
          return how.isCompact ? rounded(moved, moved.point >= 2 ? { integerMin: 1, fractionMin: 0, fractionMax: 0 } : { integerMin: 1, significantMin: 1, significantMax: 2 }) : rounded(moved, how);
        };
        shift = decimal.point > 3 ? floor((decimal.point - 1) / 3) : 0;
        if (shift > 4) shift = 4;
        let made = shortened(shift);
        if (made.whole.length > 3 && shift < 4) made = shortened(++shift);
        this.#digits(made, body);
        const suffix = this.#isLong ? COMPACT_LONG[shift] : COMPACT[shift];
        if (suffix[0] === " ") add(body, "literal", " ");
        add(body, "compact", suffix[0] === " " ? slice(suffix, 1) : suffix);
        return made.isZero;
      }
      const made = rounded(decimal, how);
      this.#digits(made, body);
      return made.isZero;
    }
    #digits({ whole, fraction }, body) {
      const isGrouped = this.#group !== "false" && whole.length > (this.#group === "min2" ? 4 : 3);
      let first = isGrouped ? whole.length % 3 || 3 : whole.length;
      push(body, part("integer", slice(whole, 0, first)));
      for (; first < whole.length; first += 3) {
        push(body, part("group", ","));
        push(body, part("integer", slice(whole, first, first + 3)));
      }
      if (fraction === "") return;
      push(body, part("decimal", "."));
      push(body, part("fraction", fraction));
    }
    #around(parts, body, { negative, isZero }, isNan) {
      const shows = this.#sign;
      const isNegative = negative && !isNan && shows !== "never" && !(isZero && (shows === "exceptZero" || shows === "negative"));
      const isPositive = !negative && (shows === "always" || (shows === "exceptZero" && !isZero && !isNan));
      const inBrackets = isNegative && this.#isAccounting && this.#style === "currency";
      if (inBrackets) push(parts, part("literal", "("));
      else if (isNegative) push(parts, part("minusSign", "-"));
      else if (isPositive) push(parts, part("plusSign", "+"));
      if (this.#style === "currency") {
        const symbol = this.#display === "symbol" ? SYMBOLS[this.#currency] : undefined;
        push(parts, part("currency", symbol ?? this.#currency));
        if (symbol === undefined && body[0].type === "integer") push(parts, part("literal", "\xa0"));
      }
      for (let i = 0; i < body.length; i++) push(parts, body[i]);
      if (this.#style === "percent") push(parts, part("percentSign", "%"));
      if (this.#style === "unit") {
        const forms = UNITS[this.#unit];
        const isOne = body.length === 1 && body[0].value === "1";
        const text = this.#unitDisplay === "narrow" ? forms[4] : forms[(this.#unitDisplay === "short" ? 2 : 0) + (isOne ? 0 : 1)];
        if (text[0] === " ") push(parts, part("literal", " "));
        push(parts, part(this.#unit === "percent" && text === "%" ? "percentSign" : "unit", text[0] === " " ? slice(text, 1) : text));
      }
      if (inBrackets) push(parts, part("literal", ")"));
    }
    resolvedOptions() {
      const how = this.#how;
      const found = { locale: this.#locale, numberingSystem: "latn", style: this.#style };
      if (this.#style === "currency") {
        found.currency = this.#currency;
        found.currencyDisplay = this.#display;
        found.currencySign = this.#isAccounting ? "accounting" : "standard";
      }
      if (this.#style === "unit") {
        found.unit = this.#unit;
        found.unitDisplay = this.#unitDisplay;
      }
      found.minimumIntegerDigits = how.integerMin;
      if (how.significantMax === undefined) {
        found.minimumFractionDigits = how.fractionMin;
        found.maximumFractionDigits = how.fractionMax;
      } else {
        found.minimumSignificantDigits = how.significantMin;
        found.maximumSignificantDigits = how.significantMax;
      }
      found.useGrouping = this.#group === "false" ? false : this.#group;
      found.notation = this.#notation;
      if (this.#notation === "compact") found.compactDisplay = this.#isLong ? "long" : "short";
      found.signDisplay = this.#sign;
      found.roundingMode = "halfExpand";
      found.roundingIncrement = 1;
      found.trailingZeroDisplay = "auto";
      found.roundingPriority = "auto";
      return found;
    }
  }

  // ── dates ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
  const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
  const MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
  ];
  const ERAS = { __proto__: null, long: ["Before Christ", "Anno Domini"], short: ["BC", "AD"], narrow: ["B", "A"] };
  const TEXTS = ["long", "short", "narrow"];
  const DIGITS = ["numeric", "2-digit"];
  const FIELDS = {
    __proto__: null, weekday: TEXTS, era: TEXTS, year: DIGITS, month: [...DIGITS, ...TEXTS], day: DIGITS, hour: DIGITS, minute: DIGITS,
    second: DIGITS, timeZoneName: ["short", "long", "shortOffset", "longOffset"],
  };
  const NAMES = ["weekday", "era", "year", "month", "day", "hour", "minute", "second", "timeZoneName"];
  const STYLES = ["full", "long", "medium", "short"];
  const DATE_STYLES = {
    __proto__: null, full: { weekday: "long", month: "long", day: "numeric", year: "numeric" },
    long: { month: "long", day: "numeric", year: "numeric" }, medium: { month: "short", day: "numeric", year: "numeric" },
    short: { month: "numeric", day: "numeric", year: "2-digit" },
  };
  const TIME_STYLES = {
    __proto__: null, full: { hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "long" },
    long: { hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" },
    medium: { hour: "numeric", minute: "2-digit", second: "2-digit" }, short: { hour: "numeric", minute: "2-digit" },
  };
  const two = (number) => padStart(StringOf(number % 100), 2, "0");
  const named = (names, index, how) => (how === "long" ? names[index] : slice(names[index], 0, how === "short" ? 3 : 1));

  // ── time zones ────────────────────────────────────────────────────────────────────────────────────────────────────────
  const UTC_NAMES = { __proto__: null, short: "UTC", long: "Coordinated Universal Time", shortOffset: "GMT+0", longOffset: "GMT+00:00" };
  const AS_UTC = [
    "utc", "etc/utc", "gmt", "etc/gmt", "etc/uct", "uct", "zulu", "etc/zulu", "universal", "etc/universal", "greenwich", "gmt0", "etc/gmt0",
    "gmt+0", "gmt-0", "etc/gmt+0", "etc/gmt-0", "etc/greenwich",
  ];
  // As the table of zones counts them; CLDR's names of zones begin with 1970.
  const LETTERS = ["", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "AKST", "AKDT", "HST", "HDT", "AST", "ADT", "GMT", "HAST", "HADT"];
  const always = (offset) => () => ({ __proto__: null, offset, letters: 0 });
  const UTC = { __proto__: null, name: "UTC", at: always(0) };
  const zoneNamed = (name) => {
    if (isOneOf(AS_UTC, toLowerCase(name))) return UTC;
    const fixed = offsetOf(name);
    if (fixed !== undefined) return { __proto__: null, name: offsetName(fixed), at: always(fixed * 60) };
    const found = zoneOf(name);
    if (found === undefined) refuse("time zone", name);
    const at = (ms) => {
      const packed = zoneAt(found[1], ms);
      const offset = floor(packed / 32);
      return { __proto__: null, offset, letters: ms < 0 ? 0 : packed - offset * 32 };
    };
    return { __proto__: null, name: found[0], at };
  };
  // The minutes of +HH, +HHMM or +HH:MM; undefined: it is no such text.
  const offsetOf = (text) => {
    const size = text.length;
    if ((text[0] !== "+" && text[0] !== "-") || (size !== 3 && size !== 5 && !(size === 6 && text[3] === ":"))) return undefined;
    const digits = slice(text, 1, 3) + (size === 3 ? "00" : slice(text, -2));
    for (let i = 0; i < 4; i++) if (!(digits[i] >= "0" && digits[i] <= "9")) return undefined;
    const hours = NumberOf(slice(digits, 0, 2));
    const minutes = NumberOf(slice(digits, 2));
    if (hours > 23 || minutes > 59) return undefined;
    return (hours * 60 + minutes) * (text[0] === "-" ? -1 : 1);
  };
  const offsetName = (minutes) => (minutes < 0 ? "-" : "+") + two(floor(abs(minutes) / 60)) + ":" + two(abs(minutes) % 60);
  const offsetText = (seconds, isLong) => {
    const size = abs(seconds);
    const hours = floor(size / 3600);
    const minutes = floor(size / 60) % 60;
    const rest = size % 60;
    const text = (seconds < 0 ? "GMT-" : "GMT+") + (isLong ? two(hours) : StringOf(hours));
    return text + (isLong || minutes > 0 || rest > 0 ? ":" + two(minutes) : "") + (rest > 0 ? ":" + two(rest) : "");
  };

  // Node writes U+202F before AM and PM in parts, and a space in texts.
  const NARROW_SPACE = "\u202f";
  const textOfDate = (parts) => {
    let text = "";
    for (let i = 0; i < parts.length; i++) text += parts[i].value === NARROW_SPACE ? " " : parts[i].value;
    return text;
  };

  class DateTimeFormat {
    #locale;
    #zone;
    #fields = { __proto__: null };
    #dateStyle;
    #timeStyle;
    #cycle;
    #fraction;
    #format;
    // `needs` and `fills`: which fields are there where none is asked for: of the date, the time, or both.
    constructor(locales = undefined, options = undefined, needs = "any", fills = "date") {
      this.#locale = localeOf(locales);
      option(options, "calendar", ["gregory"]);
      option(options, "numberingSystem", ["latn"]);
      known(options, ["dayPeriod"]);
      const zone = options?.timeZone;
      this.#zone = zone === undefined ? UTC : zoneNamed(StringOf(zone));
      const hour12 = options?.hour12;
      const cycle = option(options, "hourCycle", ["h11", "h12", "h23", "h24"], undefined);
      this.#cycle = hour12 === undefined ? cycle ?? "h12" : hour12 ? "h12" : "h24";
      this.#fraction = numberOption(options, "fractionalSecondDigits", 1, 3, 0);
      this.#dateStyle = option(options, "dateStyle", STYLES, undefined);
      this.#timeStyle = option(options, "timeStyle", STYLES, undefined);
      const fields = this.#fields;
      let count = 0;
      for (let i = 0; i < NAMES.length; i++) {
        const value = option(options, NAMES[i], FIELDS[NAMES[i]], undefined);
        if (value === undefined) continue;
        fields[NAMES[i]] = value;
        if (NAMES[i] === "timeZoneName" || NAMES[i] === "era") continue;
        if (needs === "any" || (needs === "date") === i < 5) count++;
      }
      if (this.#dateStyle !== undefined || this.#timeStyle !== undefined) {
        for (const name in fields) throw new TypeErrorOf("Can't set option " + name + " when dateStyle or timeStyle is used");
        this.#take(DATE_STYLES[this.#dateStyle]);
        this.#take(TIME_STYLES[this.#timeStyle]);
      } else if (count === 0 && this.#fraction === 0) {
        if (fills !== "time") this.#take({ year: "numeric", month: "numeric", day: "numeric" });
        if (fills !== "date") this.#take({ hour: "numeric", minute: "2-digit", second: "2-digit" });
      }
      this.#check();
    }
    #take(fields) {
      for (let i = 0; i < NAMES.length; i++) {
        const value = getOwnPropertyDescriptor(fields ?? {}, NAMES[i]);
        if (value !== undefined) this.#fields[NAMES[i]] = value.value;
      }
    }
    // Only what has an order of its own in English.
    #check() {
      const { year, month, day, weekday, era, hour, minute, second } = this.#fields;
      const isOdd =
        (year !== undefined && month === undefined && (day !== undefined || weekday !== undefined)) || (era !== undefined && year === undefined) ||
        (month !== undefined && weekday !== undefined && day === undefined) || (hour !== undefined && second !== undefined && minute === undefined) ||
        (hour !== undefined && minute === undefined && this.#fraction > 0) || (minute !== undefined && second === undefined && this.#fraction > 0);
      if (isOdd) refuse("pattern for", "such fields together");
      if (this.#fields.timeZoneName === "long" && this.#zone.name !== "UTC") refuse("long name of the time zone", this.#zone.name);
    }
    get format() {
      return (this.#format ??= (date) => textOfDate(this.formatToParts(date)));
    }
    formatToParts(value = undefined) {
      const ms = value === undefined ? now() : trunc(typeof value === "object" && value !== null && value instanceof DateOf ? timeOf(value) : NumberOf(value));
      if (!(abs(ms) <= 8.64e15)) throw new RangeErrorOf("Invalid time value");
      const { offset, letters } = this.#zone.at(ms);
      const date = new DateOf(ms + offset * 1000);
      if (timeOf(date) !== timeOf(date)) throw new RangeErrorOf("Invalid time value");
      const parts = this.#date(date);
      const time = this.#time(date, offset, letters);
      if (parts.length > 0 && time.length > 0) {
        const isLong = this.#fields.month === "long" && this.#fields.hour !== undefined;
        const isDay = this.#fields.month === undefined && this.#fields.year === undefined && this.#fields.hour !== undefined;
        push(parts, part("literal", isLong ? " at " : isDay ? " " : ", "));
      }
      for (let i = 0; i < time.length; i++) push(parts, time[i]);
      return parts;
    }
    formatRange(from, to) {
      const first = this.format(from);
      if (first === this.format(to)) return first;
      return refuse("method", "formatRange");
    }
    #date(date) {
      const { weekday, era, year, month, day } = this.#fields;
      const parts = [];
      const full = yearOf(date);
      const isText = isOneOf(TEXTS, month);
      const shown = era !== undefined && full <= 0 ? 1 - full : full;
      const yearText = year === "2-digit" ? two(abs(full)) : StringOf(shown);
      const dayText = day === "2-digit" ? two(dayOf(date)) : StringOf(dayOf(date));
      if (month === undefined && weekday !== undefined && day !== undefined) {
        push(parts, part("day", dayText));
        push(parts, part("literal", " "));
        push(parts, part("weekday", named(DAYS, weekdayOf(date), weekday)));
        return parts;
      }
      const put = (type, text, separator) => {
        if (parts.length > 0) push(parts, part("literal", separator));
        push(parts, part(type, text));
      };
      if (weekday !== undefined) put("weekday", named(DAYS, weekdayOf(date), weekday), "");
      if (month !== undefined) {
        const index = monthOf(date);
        put("month", isText ? named(MONTHS, index, month) : month === "2-digit" ? two(index + 1) : StringOf(index + 1), ", ");
      }
      if (day !== undefined) put("day", dayText, month === undefined ? ", " : isText ? " " : "/");
      if (year !== undefined) put("year", yearText, isText ? (day === undefined ? " " : ", ") : "/");
      if (era !== undefined) put("era", ERAS[era][full > 0 ? 1 : 0], " ");
      return parts;
    }
    #time(date, offset, letters) {
      const { hour, minute, second, timeZoneName } = this.#fields;
      const parts = [];
      const put = (type, text, separator) => {
        if (parts.length > 0) push(parts, part("literal", separator));
        push(parts, part(type, text));
      };
      const isTwelve = this.#cycle === "h12" || this.#cycle === "h11";
      if (hour !== undefined) {
        const h = hourOf(date);
        const shown = this.#cycle === "h12" ? h % 12 || 12 : this.#cycle === "h11" ? h % 12 : this.#cycle === "h24" ? h || 24 : h;
        put("hour", hour === "2-digit" || !isTwelve ? two(shown) : StringOf(shown), "");
      }
      if (minute !== undefined) {
        const isTwo = hour !== undefined || second !== undefined;
        put("minute", isTwo ? two(minuteOf(date)) : StringOf(minuteOf(date)), ":");
      }
      if (second !== undefined) put("second", minute !== undefined ? two(secondOf(date)) : StringOf(secondOf(date)), ":");
      if (this.#fraction > 0) put("fractionalSecond", slice(padStart(StringOf(msOf(date)), 3, "0"), 0, this.#fraction), ".");
      if (hour !== undefined && isTwelve) put("dayPeriod", hourOf(date) < 12 ? "AM" : "PM", NARROW_SPACE);
      if (timeZoneName !== undefined) put("timeZoneName", this.#zone.name === "UTC" ? UTC_NAMES[timeZoneName] : letters !== 0 && timeZoneName === "short" ? LETTERS[letters] : offsetText(offset, timeZoneName === "longOffset"), " ");
      return parts;
    }
    resolvedOptions() {
      const found = { locale: this.#locale, calendar: "gregory", numberingSystem: "latn", timeZone: this.#zone.name };
      const fields = this.#fields;
      if (fields.hour !== undefined) {
        found.hourCycle = this.#cycle;
        found.hour12 = this.#cycle === "h12" || this.#cycle === "h11";
      }
      if (this.#dateStyle !== undefined) found.dateStyle = this.#dateStyle;
      if (this.#timeStyle !== undefined) found.timeStyle = this.#timeStyle;
      if (found.dateStyle !== undefined || found.timeStyle !== undefined) return found;
      for (let i = 0; i < NAMES.length; i++) {
        const value = fields[NAMES[i]];
        if (value !== undefined) found[NAMES[i]] = value;
      }
      if (fields.minute !== undefined && fields.hour !== undefined) found.minute = "2-digit";
      if (fields.second !== undefined && fields.minute !== undefined) found.second = "2-digit";
      if (this.#fraction > 0) found.fractionalSecondDigits = this.#fraction;
      return found;
    }
  }

  // ── order of texts: letters with their accents, digits and ASCII, as CLDR's root has them ───────────────────────────
  const ORDER = "\t\n\v\f\r _-,;:!?.'\"()[]{}@*/\\&#%\x60^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
  const PUNCTUATION = 35; // so many of them are none of digits, letters and symbols
  const MARKS = "\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307\u0328\u0327\u0304\u0309\u0323";
  const isDigit = (c) => c >= "0" && c <= "9";

  // Of each character: its place in the order, the number of its digits, its accents, and whether it is a capital.
  const keysOf = (text, how) => {
    const whole = normalize(text, "NFD");
    const keys = { __proto__: null, first: [], second: [], third: [] };
    for (let i = 0; i < whole.length; i++) {
      const c = whole[i];
      const lower = toLowerCase(c);
      const place = indexOf(ORDER, lower);
      const mark = place < 0 ? indexOf(MARKS, c) : -1;
      if (mark >= 0 && keys.first.length > 0) {
        keys.second[keys.second.length - 1] = keys.second[keys.second.length - 1] * 32 + mark + 1;
        continue;
      }
      if (place < 0 || codeAt(c, 0) > 127) {
        throw new RangeErrorOf("Intl knows no order of '" + c + "' under glass: it has that of Latin letters, digits and ASCII; compare with < for one that is the same everywhere");
      }
      if (how.ignorePunctuation && place < PUNCTUATION && c !== "$") continue;
      let rank = place;
      if (how.numeric && isDigit(c)) {
        let end = i;
        while (end < whole.length && isDigit(whole[end])) end++;
        rank = indexOf(ORDER, "0") + 1 - 1 / (2 + NumberOf(slice(whole, i, end)));
        i = end - 1;
      }
      push(keys.first, rank);
      push(keys.second, 0);
      push(keys.third, c === lower ? 0 : 1);
    }
    return keys;
  };
  const listOrder = (left, right) => {
    for (let i = 0; i < left.length && i < right.length; i++) if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
    return left.length === right.length ? 0 : left.length < right.length ? -1 : 1;
  };
  const compareTexts = (left, right, how) => {
    if (left === right || normalize(left, "NFC") === normalize(right, "NFC")) return 0;
    const a = keysOf(left, how);
    const b = keysOf(right, how);
    const first = listOrder(a.first, b.first);
    if (first !== 0 || how.sensitivity === "base") return first;
    const second = how.sensitivity === "case" ? 0 : listOrder(a.second, b.second);
    if (second !== 0 || how.sensitivity === "accent") return second;
    return listOrder(a.third, b.third) * (how.caseFirst === "upper" ? -1 : 1);
  };
  class Collator {
    #locale;
    #how;
    #compare;
    constructor(locales = undefined, options = undefined) {
      this.#locale = localeOf(locales);
      option(options, "usage", ["sort", "search"]);
      option(options, "collation", ["default"]);
      this.#how = {
        __proto__: null, sensitivity: option(options, "sensitivity", ["base", "accent", "case", "variant"], "variant"),
        ignorePunctuation: !!options?.ignorePunctuation, numeric: !!options?.numeric,
        caseFirst: option(options, "caseFirst", ["upper", "lower", "false"], "false"),
      };
    }
    get compare() {
      return (this.#compare ??= (left, right) => compareTexts(StringOf(left), StringOf(right), this.#how));
    }
    resolvedOptions() {
      const { sensitivity, ignorePunctuation, numeric, caseFirst } = this.#how;
      return { locale: this.#locale, usage: "sort", sensitivity, ignorePunctuation, collation: "default", numeric, caseFirst };
    }
  }

  // ── plurals, relative times, lists ────────────────────────────────────────────────────────────────────────────────────
  const ordinal = (n) => {
    const ten = n % 10;
    const hundred = n % 100;
    if (ten === 1 && hundred !== 11) return "one";
    if (ten === 2 && hundred !== 12) return "two";
    return ten === 3 && hundred !== 13 ? "few" : "other";
  };
  class PluralRules {
    #locale;
    #type;
    #how;
    constructor(locales = undefined, options = undefined) {
      this.#locale = localeOf(locales);
      this.#type = option(options, "type", ["cardinal", "ordinal"], "cardinal");
      this.#how = digitsOf(options, 0, 3, false);
    }
    select(value) {
      const number = NumberOf(value);
      if (!isFinite(number)) return "other";
      const { whole, fraction } = rounded(decimalOf(abs(number)), this.#how);
      if (this.#type === "ordinal") return fraction === "" ? ordinal(NumberOf(whole)) : "other";
      return whole === "1" && fraction === "" ? "one" : "other";
    }
    resolvedOptions() {
      const how = this.#how;
      const found = { locale: this.#locale, type: this.#type, minimumIntegerDigits: how.integerMin };
      if (how.significantMax === undefined) {
        found.minimumFractionDigits = how.fractionMin;
        found.maximumFractionDigits = how.fractionMax;
      } else {
        found.minimumSignificantDigits = how.significantMin;
        found.maximumSignificantDigits = how.significantMax;
      }
      found.pluralCategories = this.#type === "ordinal" ? ["few", "one", "two", "other"] : ["one", "other"];
      return found;
    }
  }

  const RELATIVE = {
    __proto__: null, second: ["sec.", "sec."], minute: ["min.", "min."], hour: ["hr.", "hr."], day: ["day", "days"], week: ["wk.", "wk."],
    month: ["mo.", "mo."], quarter: ["qtr.", "qtrs."], year: ["yr.", "yr."],
  };
  const numbers = new NumberFormat("en");
  const formatted = unbound(NumberFormat.prototype.formatToParts);
  class RelativeTimeFormat {
    #locale;
    #style;
    #numeric;
    constructor(locales = undefined, options = undefined) {
      this.#locale = localeOf(locales);
      option(options, "numberingSystem", ["latn"]);
      this.#style = option(options, "style", ["long", "short"], "long");
      this.#numeric = option(options, "numeric", ["always", "auto"], "always");
    }
    format(value, unit) {
      return textOf(this.formatToParts(value, unit));
    }
    formatToParts(value, unit) {
      const number = NumberOf(value);
      let name = StringOf(unit);
      if (name[name.length - 1] === "s") name = slice(name, 0, -1);
      const short = RELATIVE[name];
      if (short === undefined) throw new RangeErrorOf("Invalid unit argument for format() '" + StringOf(unit) + "'");
      if (!isFinite(number)) throw new RangeErrorOf("The number has to be finite");
      const word = this.#numeric === "auto" ? this.#word(number, name, short) : undefined;
      if (word !== undefined) return [part("literal", word)];
      const isPast = number < 0 || (number === 0 && 1 / number < 0);
      const shown = formatted(numbers, abs(number));
      const isOne = shown.length === 1 && shown[0].value === "1";
      const parts = isPast ? [] : [part("literal", "in ")];
      for (let i = 0; i < shown.length; i++) push(parts, { type: shown[i].type, value: shown[i].value, unit: name });
      const text = this.#style === "short" ? short[isOne ? 0 : 1] : name + (isOne ? "" : "s");
      push(parts, part("literal", " " + text + (isPast ? " ago" : "")));
      return parts;
    }
    #word(number, name, short) {
      const shown = this.#style === "short" ? short[0] : name;
      if (name === "second") return number === 0 ? "now" : undefined;
      if (name === "hour" || name === "minute") return number === 0 ? "this " + name : undefined;
      if (number !== 0 && number !== 1 && number !== -1) return undefined;
      if (name === "day") return number === 0 ? "today" : number > 0 ? "tomorrow" : "yesterday";
      return (number === 0 ? "this " : number > 0 ? "next " : "last ") + shown;
    }
    resolvedOptions() {
      return { locale: this.#locale, style: this.#style, numeric: this.#numeric, numberingSystem: "latn" };
    }
  }

  class ListFormat {
    #locale;
    #type;
    #style;
    constructor(locales = undefined, options = undefined) {
      this.#locale = localeOf(locales);
      this.#type = option(options, "type", ["conjunction", "disjunction", "unit"], "conjunction");
      this.#style = option(options, "style", ["long", "short", "narrow"], "long");
    }
    format(list) {
      return textOf(this.formatToParts(list));
    }
    formatToParts(list) {
      const items = [];
      for (const item of list ?? []) {
        if (typeof item !== "string") throw new TypeErrorOf("Iterable yielded " + StringOf(item) + " which is not a string");
        push(items, item);
      }
      const parts = [];
      for (let i = 0; i < items.length; i++) {
        if (i > 0) push(parts, part("literal", this.#between(items.length, i === items.length - 1)));
        push(parts, part("element", items[i]));
      }
      return parts;
    }
    #between(count, isLast) {
      if (this.#type === "unit") return this.#style === "narrow" ? " " : ", ";
      if (!isLast) return ", ";
      if (this.#type === "disjunction") return count > 2 ? ", or " : " or ";
      if (this.#style === "narrow") return ", ";
      const word = this.#style === "short" ? "& " : "and ";
      return (count > 2 ? ", " : " ") + word;
    }
    resolvedOptions() {
      return { locale: this.#locale, type: this.#type, style: this.#style };
    }
  }

  // ── where they are found ──────────────────────────────────────────────────────────────────────────────────────────────
  // Three of them can be called without `new`.
  const callable = (Class) => {
    const call = function (locales = undefined, options = undefined) {
      return construct(Class, [locales, options], new.target === undefined || new.target === call ? Class : new.target);
    };
    defineProperty(call, "name", { __proto__: null, value: Class.name, configurable: true });
    defineProperty(call, "length", { __proto__: null, value: 0, configurable: true });
    defineProperty(call, "prototype", { __proto__: null, value: Class.prototype, writable: false });
    hide(Class.prototype, "constructor", call);
    return call;
  };
  const Intl = {};
  tag(Intl, "Intl");
  const all = { Collator: callable(Collator), DateTimeFormat: callable(DateTimeFormat), NumberFormat: callable(NumberFormat), ListFormat, Locale, PluralRules, RelativeTimeFormat };
  for (const name of Object.keys(all)) {
    tag(all[name].prototype, "Intl." + name);
    if (all[name] !== Locale) hide(all[name], "supportedLocalesOf", (locales) => supported(locales));
    hide(Intl, name, all[name]);
  }
  hide(Intl, "getCanonicalLocales", (locales) => canonicals(locales));
  hide(Intl, "supportedValuesOf", (key) => {
    const values = { __proto__: null, calendar: ["gregory"], collation: [], currency: [], numberingSystem: ["latn"], timeZone: zoneNames(), unit: [] }[StringOf(key)];
    if (values === undefined) throw new RangeErrorOf("Invalid key : " + StringOf(key));
    return values;
  });
  define("Intl", Intl);

  const partsOfDate = unbound(DateTimeFormat.prototype.formatToParts);
  const shownAs = (needs, fills) => (date, locales, options) => {
    const ms = timeOf(date);
    const format = new DateTimeFormat(locales, options, needs, fills);
    return ms !== ms ? "Invalid Date" : textOfDate(partsOfDate(format, date));
  };
  const [both, dates, times] = [shownAs("any", "all"), shownAs("date", "date"), shownAs("time", "time")];
  const methods = {
    toLocaleString(locales = undefined, options = undefined) {
      return both(this, locales, options);
    },
    toLocaleDateString(locales = undefined, options = undefined) {
      if (options?.timeStyle !== undefined) throw new TypeErrorOf("Invalid option : timeStyle");
      return dates(this, locales, options);
    },
    toLocaleTimeString(locales = undefined, options = undefined) {
      if (options?.dateStyle !== undefined) throw new TypeErrorOf("Invalid option : dateStyle");
      return times(this, locales, options);
    },
  };
  const replace = (prototype, name, method) => {
    defineProperty(method, "length", { __proto__: null, value: 0, configurable: true });
    hide(prototype, name, method);
  };
  for (const name of Object.keys(methods)) replace(Date.prototype, name, methods[name]);
  const onNumbers = {
    toLocaleString(locales = undefined, options = undefined) {
      return textOf(formatted(new NumberFormat(locales, options), numberOf(this)));
    },
  };
  replace(Number.prototype, "toLocaleString", onNumbers.toLocaleString);
  const onBigInts = {
    toLocaleString(locales = undefined, options = undefined) {
      return textOf(formatted(new NumberFormat(locales, options), bigintOf(this)));
    },
  };
  replace(BigInt.prototype, "toLocaleString", onBigInts.toLocaleString);
  const PLAIN = { __proto__: null, sensitivity: "variant", ignorePunctuation: false, numeric: false, caseFirst: "false" };
  const comparing = cloche.own.getterOf(Collator.prototype, "compare");
  const onTexts = {
    localeCompare(other, locales = undefined, options = undefined) {
      if (this === undefined || this === null) throw new TypeErrorOf("localeCompare is a method of texts");
      if (locales === undefined && options === undefined) return compareTexts(StringOf(this), StringOf(other), PLAIN);
      return comparing(new Collator(locales, options))(StringOf(this), StringOf(other));
    },
  };
  defineProperty(onTexts.localeCompare, "length", { __proto__: null, value: 1, configurable: true });
  hide(String.prototype, "localeCompare", onTexts.localeCompare);
}
