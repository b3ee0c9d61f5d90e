// URL and URLSearchParams, by the WHATWG URL Standard, which the names below are from. Of IDNA it has lower case, NFKC and
// Punycode, and not the tables of UTS 46: a few names with rare characters are taken that others refuse.
(cloche) => {
  "use strict";

  const { encodeText, decodeText } = cloche;
  const { unbound, hide, define, expose, tag, push } = cloche.own;
  const { fromCharCode, fromCodePoint } = String;
  const { floor } = Math;
  const { parseInt: toInt } = Number;
  const { ownKeys, getOwnPropertyDescriptor } = Reflect;
  const { setPrototypeOf } = Object;
  const [TypeErrorOf, StringOf, NumberOf, Bytes] = [TypeError, String, Number, Uint8Array];
  const { iterator } = Symbol;
  const [codeAt, pointAt, slice, indexOf, toLowerCase, normalize, numberText] = [
    String.prototype.charCodeAt, String.prototype.codePointAt, String.prototype.slice, String.prototype.indexOf,
    String.prototype.toLowerCase, String.prototype.normalize, Number.prototype.toString,
  ].map((method) => unbound(method));
  const SPECIAL = { __proto__: null, ftp: 21, file: null, http: 80, https: 443, ws: 80, wss: 443 };
  const isSpecial = (url) => SPECIAL[url.scheme] !== undefined;

  // ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
  const isIn = (set, character) => character !== "" && indexOf(set, character) >= 0;
  const isDigit = (c) => c >= "0" && c <= "9" && c.length === 1;
  const isAlpha = (c) => c.length === 1 && ((c >= "a" && c <= "z") || (c >= "A" && c <= "Z"));
  const isHex = (c) => isDigit(c) || (c.length === 1 && ((c >= "a" && c <= "f") || (c >= "A" && c <= "F")));
  const charactersOf = (text) => {
    const all = [];
    for (let i = 0; i < text.length; ) {
      const character = fromCodePoint(pointAt(text, i));
      push(all, character);
      i += character.length;
    }
    return all;
  };
  const split = (text, separator) => {
    const parts = [];
    let start = 0;
    for (let at = indexOf(text, separator); at >= 0; at = indexOf(text, separator, start)) {
      push(parts, slice(text, start, at));
      start = at + 1;
    }
    push(parts, slice(text, start));
    return parts;
  };
  const join = (parts, separator) => {
    let text = "";
    for (let i = 0; i < parts.length; i++) text += (i ? separator : "") + parts[i];
    return text;
  };
  const without = (text, unwanted) => {
    let rest = "";
    for (let i = 0; i < text.length; i++) if (!isIn(unwanted, text[i])) rest += text[i];
    return rest;
  };

  // ── percent-encoding; the sets are what they add to controls and what is not ASCII ──────────────────────────────────
  const FRAGMENT = " \"<>\x60";
  const QUERY = " \"#<>";
  const SPECIAL_QUERY = QUERY + "'";
  const PATH = QUERY + "?^\x60{}";
  const USERINFO = PATH + "/:;=@[\\]|";
  const HEX = "0123456789ABCDEF";

  const percent = (byte) => "%" + HEX[byte >> 4] + HEX[byte & 15];
  const percentAll = (text) => {
    const bytes = encodeText(text);
    let encoded = "";
    for (let i = 0; i < bytes.length; i++) encoded += percent(bytes[i]);
    return encoded;
  };
  const encodedIn = (set, character) =>
    character > "~" || character < " " || isIn(set, character) ? percentAll(character) : character;
  const encoded = (set, text) => {
    const all = charactersOf(text);
    let whole = "";
    for (let i = 0; i < all.length; i++) whole += encodedIn(set, all[i]);
    return whole;
  };
  const percentDecoded = (text, isForm) => {
    const bytes = encodeText(text);
    let size = 0;
    for (let i = 0; i < bytes.length; i++, size++) {
      const pair = bytes[i] === 37 && i + 2 < bytes.length ? fromCharCode(bytes[i + 1], bytes[i + 2]) : "";
      if (pair !== "" && isHex(pair[0]) && isHex(pair[1])) {
        bytes[size] = toInt(pair, 16);
        i += 2;
      } else bytes[size] = isForm && bytes[i] === 43 ? 32 : bytes[i];
    }
    const whole = new Bytes(size);
    for (let i = 0; i < size; i++) whole[i] = bytes[i];
    return decodeText(whole, 0, false);
  };

  // ── hosts: null is failure ────────────────────────────────────────────────────────────────────────────────────────────
  const FORBIDDEN = "\0\t\n\r #/:<>?@[\\]^|";
  const isForbiddenInDomain = (c) => isIn(FORBIDDEN, c) || c === "%" || c <= "\x1f" || c === "\x7f";

  const parseHost = (text, isOpaque) => {
    if (text[0] === "[") {
      if (text[text.length - 1] !== "]") return null;
      const pieces = parseIpv6(slice(text, 1, -1));
      return pieces === null ? null : "[" + ipv6Text(pieces) + "]";
    }
    if (isOpaque) {
      for (let i = 0; i < text.length; i++) if (isIn(FORBIDDEN, text[i])) return null;
      return encoded("", text);
    }
    const domain = domainToAscii(percentDecoded(text, false));
    if (domain === null || domain === "") return null;
    for (let i = 0; i < domain.length; i++) if (isForbiddenInDomain(domain[i])) return null;
    return endsInNumber(domain) ? parseIpv4(domain) : domain;
  };

  const IGNORED = "\xad\u034f\u180b\u180c\u180d\u200b\u2060\u2064\ufe00\ufe01\ufe02\ufe0f\ufeff";
  const isAscii = (text) => {
    for (let i = 0; i < text.length; i++) if (codeAt(text, i) > 127) return false;
    return true;
  };
  const domainToAscii = (text) => {
    let domain = toLowerCase(text);
    if (!isAscii(domain)) {
      domain = toLowerCase(normalize(without(domain, IGNORED), "NFKC"));
      let dotted = "";
      for (let i = 0; i < domain.length; i++) dotted += domain[i] === "\u3002" ? "." : domain[i];
      domain = dotted;
    }
    const labels = split(domain, ".");
    for (let i = 0; i < labels.length; i++) {
      if (!isAscii(labels[i])) {
        if (indexOf(labels[i], "\ufffd") >= 0) return null;
        labels[i] = "xn--" + punycoded(labels[i]);
      } else if (slice(labels[i], 0, 4) === "xn--" && !isPunycode(slice(labels[i], 4))) return null;
    }
    return join(labels, ".");
  };

  // RFC 3492.
  const adapt = (delta, count, isFirst) => {
    let k = 0;
    delta = isFirst ? floor(delta / 700) : delta >> 1;
    delta += floor(delta / count);
    for (; delta > 455; k += 36) delta = floor(delta / 35);
    return k + floor((36 * delta) / (delta + 38));
  };
  const threshold = (k, bias) => (k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias);
  const digitText = (digit) => fromCharCode(digit < 26 ? digit + 97 : digit + 22);
  const punycoded = (label) => {
    const all = charactersOf(label);
    let output = "";
    for (let i = 0; i < all.length; i++) if (all[i] < "\x80") output += all[i];
    let handled = output.length;
    const basic = handled;
    let n = 128;
    let delta = 0;
    let bias = 72;
    if (basic > 0) output += "-";
    while (handled < all.length) {
      let next = 0x110000;
      for (let i = 0; i < all.length; i++) {
        const point = pointAt(all[i], 0);
        if (point >= n && point < next) next = point;
      }
      delta += (next - n) * (handled + 1);
      n = next;
      for (let i = 0; i < all.length; i++) {
        const point = pointAt(all[i], 0);
        if (point < n) delta++;
        if (point !== n) continue;
        let q = delta;
        for (let k = 36; ; k += 36) {
          const t = threshold(k, bias);
          if (q < t) break;
          output += digitText(t + ((q - t) % (36 - t)));
          q = floor((q - t) / (36 - t));
        }
        output += digitText(q);
        bias = adapt(delta, handled + 1, handled === basic);
        delta = 0;
        handled++;
      }
      delta++;
      n++;
    }
    return output;
  };
  // Whether it stands for a label that is not all ASCII.
  const isPunycode = (text) => {
    let start = 0;
    for (let i = 0; i < text.length; i++) if (text[i] === "-") start = i + 1;
    let count = start > 0 ? start - 1 : 0;
    let n = 128;
    let i = 0;
    let bias = 72;
    if (start === text.length) return false;
    for (let at = start; at < text.length; count++) {
      const before = i;
      for (let w = 1, k = 36; ; k += 36) {
        const c = text[at++] ?? "";
        const digit = isDigit(c) ? codeAt(c, 0) - 22 : isAlpha(c) ? codeAt(c, 0) - 97 : -1;
        if (digit < 0) return false;
        i += digit * w;
        const t = threshold(k, bias);
        if (digit < t) break;
        w *= 36 - t;
        if (i > 0x7fffffff || w > 0x7fffffff) return false;
      }
      bias = adapt(i - before, count + 1, before === 0);
      n += floor(i / (count + 1));
      if (n > 0x10ffff || (n >= 0xd800 && n < 0xe000)) return false;
      i = (i % (count + 1)) + 1;
    }
    return true;
  };

  const parseIpv4Number = (text) => {
    if (text === "") return null;
    let radix = 10;
    if (text.length >= 2 && text[0] === "0" && (text[1] === "x" || text[1] === "X")) {
      radix = 16;
      text = slice(text, 2);
    } else if (text.length >= 2 && text[0] === "0") {
      radix = 8;
      text = slice(text, 1);
    }
    if (text === "") return 0;
    for (let i = 0; i < text.length; i++) {
      if (radix === 16 ? !isHex(text[i]) : !(isDigit(text[i]) && (radix === 10 || text[i] < "8"))) return null;
    }
    return toInt(text, radix);
  };
  const endsInNumber = (domain) => {
    const parts = split(domain, ".");
    let last = parts.length - 1;
    if (parts[last] === "") {
      if (last === 0) return false;
      last--;
    }
    let isNumber = parts[last] !== "";
    for (let i = 0; i < parts[last].length; i++) if (!isDigit(parts[last][i])) isNumber = false;
    return isNumber || (parts[last][0] === "0" && parseIpv4Number(parts[last]) !== null);
  };
  const parseIpv4 = (domain) => {
    const parts = split(domain, ".");
    const count = parts.length > 1 && parts[parts.length - 1] === "" ? parts.length - 1 : parts.length;
    if (count > 4) return null;
    let address = 0;
    for (let i = 0; i < count; i++) {
      const number = parseIpv4Number(parts[i]);
      if (number === null) return null;
      if (i < count - 1) {
        if (number > 255) return null;
        address += number * 256 ** (3 - i);
      } else {
        if (number >= 256 ** (5 - count)) return null;
        address += number;
      }
    }
    let text = "";
    for (let i = 3; i >= 0; i--) text += (text && ".") + StringOf(floor(address / 256 ** i) % 256);
    return text;
  };

  const parseIpv6 = (text) => {
    const pieces = [];
    let compress = -1;
    let at = 0;
    if (text[0] === ":") {
      if (text[1] !== ":") return null;
      at = 2;
      compress = 0;
    }
    while (at < text.length) {
      if (pieces.length === 8) return null;
      if (text[at] === ":") {
        if (compress >= 0) return null;
        at++;
        compress = pieces.length;
        continue;
      }
      let value = 0;
      let size = 0;
      for (; size < 4 && isHex(text[at] ?? ""); size++) value = value * 16 + toInt(text[at++], 16);
      if (text[at] === ".") {
        if (size === 0 || pieces.length > 6) return null;
        at -= size;
        const four = embeddedIpv4(text, at);
        if (four === null) return null;
        push(pieces, four[0] * 256 + four[1]);
        push(pieces, four[2] * 256 + four[3]);
        at = text.length;
        break;
      }
      if (text[at] === ":") {
        at++;
        if (at === text.length) return null;
      } else if (at < text.length) return null;
      push(pieces, value);
    }
    if (compress < 0) return pieces.length === 8 ? pieces : null;
    const whole = [];
    for (let i = 0; i < compress; i++) push(whole, pieces[i]);
    for (let i = pieces.length; i < 8; i++) push(whole, 0);
    for (let i = compress; i < pieces.length; i++) push(whole, pieces[i]);
    return whole.length === 8 ? whole : null;
  };
  const embeddedIpv4 = (text, at) => {
    const parts = split(slice(text, at), ".");
    if (parts.length !== 4) return null;
    for (let i = 0; i < 4; i++) {
      const part = parts[i];
      if (part === "" || part.length > 3 || (part.length > 1 && part[0] === "0")) return null;
      for (let k = 0; k < part.length; k++) if (!isDigit(part[k])) return null;
      parts[i] = NumberOf(part);
      if (parts[i] > 255) return null;
    }
    return parts;
  };
  const ipv6Text = (pieces) => {
    let best = -1;
    let size = 1;
    for (let i = 0; i < 8; i++) {
      let end = i;
      while (end < 8 && pieces[end] === 0) end++;
      if (end - i > size) {
        best = i;
        size = end - i;
      }
      if (end > i) i = end;
    }
    let text = "";
    for (let i = 0; i < 8; i++) {
      if (i === best) {
        text += i === 0 ? "::" : ":";
        i += size - 1;
        continue;
      }
      text += numberText(pieces[i], 16) + (i < 7 ? ":" : "");
    }
    return text;
  };

  // ── the parser ────────────────────────────────────────────────────────────────────────────────────────────────────────
  const newRecord = () => ({
    __proto__: null, scheme: "", username: "", password: "", host: null, port: null, path: [], query: null, fragment: null,
  });
  const pathOf = (url) => {
    const path = [];
    for (let i = 0; i < url.path.length; i++) push(path, url.path[i]);
    return path;
  };
  const isOpaquePath = (url) => typeof url.path === "string";
  const isWindowsLetter = (text) => text.length === 2 && isAlpha(text[0]) && (text[1] === ":" || text[1] === "|");
  const isNormalLetter = (text) => isWindowsLetter(text) && text[1] === ":";
  const beginsWithLetter = (all, at) =>
    at + 1 < all.length && isWindowsLetter(all[at] + all[at + 1]) && (at + 2 === all.length || isIn("/\\?#", all[at + 2]));
  const shorten = (url) => {
    const { path } = url;
    if (url.scheme === "file" && path.length === 1 && isNormalLetter(path[0])) return;
    if (path.length > 0) path.length--;
  };
  const isDot = (text) => text === "." || toLowerCase(text) === "%2e";
  const isDots = (text) => {
    const lower = toLowerCase(text);
    return lower === ".." || lower === ".%2e" || lower === "%2e." || lower === "%2e%2e";
  };

  // The states of the standard, each a function of the machine, which gives the next one, or undefined to stay; `FAIL` and
  // `DONE` end it. `m.override` is set where a setter changes a part of `m.url`.
  const FAIL = "fail";
  const DONE = "done";
  const states = {
    __proto__: null,
    schemeStart(m, c) {
      if (isAlpha(c)) {
        m.buffer += toLowerCase(c);
        return "scheme";
      }
      if (m.override) return FAIL;
      m.at--;
      return "noScheme";
    },
    scheme(m, c) {
      if (isAlpha(c) || isDigit(c) || c === "+" || c === "-" || c === ".") {
        m.buffer += toLowerCase(c);
        return;
      }
      const { url } = m;
      if (c === ":") {
        if (m.override) {
          if (isSpecial(url) !== (SPECIAL[m.buffer] !== undefined)) return DONE;
          if ((url.username !== "" || url.password !== "" || url.port !== null) && m.buffer === "file") return DONE;
          if (url.scheme === "file" && (url.host === "" || url.host === null)) return DONE;
        }
        url.scheme = m.buffer;
        if (m.override) {
          if (url.port === SPECIAL[url.scheme]) url.port = null;
          return DONE;
        }
        m.buffer = "";
        if (url.scheme === "file") return "file";
        if (isSpecial(url)) return m.base !== null && m.base.scheme === url.scheme ? "specialRelativeOrAuthority" : "specialAuthoritySlashes";
        if (m.all[m.at + 1] === "/") {
          m.at++;
          return "pathOrAuthority";
        }
        url.path = "";
        return "opaquePath";
      }
      if (m.override) return FAIL;
      m.buffer = "";
      m.at = -1;
      return "noScheme";
    },
    noScheme(m, c) {
      const { base, url } = m;
      if (base === null || (isOpaquePath(base) && c !== "#")) return FAIL;
      if (isOpaquePath(base)) {
        url.scheme = base.scheme;
        url.path = base.path;
        url.query = base.query;
        url.fragment = "";
        return "fragment";
      }
      m.at--;
      return base.scheme === "file" ? "file" : "relative";
    },
    specialRelativeOrAuthority(m, c) {
      if (c === "/" && m.all[m.at + 1] === "/") {
        m.at++;
        return "specialAuthorityIgnoreSlashes";
      }
      m.at--;
      return "relative";
    },
    pathOrAuthority(m, c) {
      if (c === "/") return "authority";
      m.at--;
      return "path";
    },
    relative(m, c) {
      const { base, url } = m;
      url.scheme = base.scheme;
      if (c === "/") return "relativeSlash";
      if (isSpecial(url) && c === "\\") return "relativeSlash";
      url.username = base.username;
      url.password = base.password;
      url.host = base.host;
      url.port = base.port;
      url.path = pathOf(base);
      url.query = base.query;
      return fromBase(m, c);
    },
    relativeSlash(m, c) {
      const { base, url } = m;
      if (isSpecial(url) && (c === "/" || c === "\\")) return "specialAuthorityIgnoreSlashes";
      if (c === "/") return "authority";
      url.username = base.username;
      url.password = base.password;
      url.host = base.host;
      url.port = base.port;
      m.at--;
      return "path";
    },
    specialAuthoritySlashes(m, c) {
      if (c === "/" && m.all[m.at + 1] === "/") m.at++;
      else m.at--;
      return "specialAuthorityIgnoreSlashes";
    },
    specialAuthorityIgnoreSlashes(m, c) {
      if (c === "/" || c === "\\") return;
      m.at--;
      return "authority";
    },
    authority(m, c) {
      const { url } = m;
      if (c === "@") {
        if (m.atSign) m.buffer = "%40" + m.buffer;
        m.atSign = true;
        const all = charactersOf(m.buffer);
        for (let i = 0; i < all.length; i++) {
          if (all[i] === ":" && !m.passwordToken) {
            m.passwordToken = true;
            continue;
          }
          if (m.passwordToken) url.password += encodedIn(USERINFO, all[i]);
          else url.username += encodedIn(USERINFO, all[i]);
        }
        m.buffer = "";
        return;
      }
      if (c === "" || c === "/" || c === "?" || c === "#" || (isSpecial(url) && c === "\\")) {
        if (m.atSign && m.buffer === "") return FAIL;
        m.at -= charactersOf(m.buffer).length + 1;
        m.buffer = "";
        return "host";
      }
      m.buffer += c;
    },
    host(m, c) {
      const { url } = m;
      if (m.override && url.scheme === "file") {
        m.at--;
        return "fileHost";
      }
      if (c === ":" && !m.inBrackets) {
        if (m.buffer === "") return FAIL;
        if (m.override === "hostname") return FAIL;
        const host = parseHost(m.buffer, !isSpecial(url));
        if (host === null) return FAIL;
        url.host = host;
        m.buffer = "";
        return "port";
      }
      if (c === "" || c === "/" || c === "?" || c === "#" || (isSpecial(url) && c === "\\")) {
        m.at--;
        if (isSpecial(url) && m.buffer === "") return FAIL;
        if (m.override && m.buffer === "" && (url.username !== "" || url.password !== "" || url.port !== null)) return FAIL;
        const host = m.buffer === "" ? "" : parseHost(m.buffer, !isSpecial(url));
        if (host === null) return FAIL;
        url.host = host;
        m.buffer = "";
        return m.override ? DONE : "pathStart";
      }
      if (c === "[") m.inBrackets = true;
      if (c === "]") m.inBrackets = false;
      m.buffer += c;
    },
    port(m, c) {
      const { url } = m;
      if (isDigit(c)) {
        m.buffer += c;
        return;
      }
      if (c === "" || c === "/" || c === "?" || c === "#" || (isSpecial(url) && c === "\\") || m.override) {
        if (m.buffer !== "") {
          const port = NumberOf(m.buffer);
          if (port > 65535) return FAIL;
          url.port = port === SPECIAL[url.scheme] ? null : port;
          m.buffer = "";
          if (m.override) return DONE;
        }
        if (m.override) return FAIL;
        m.at--;
        return "pathStart";
      }
      return FAIL;
    },
    file(m, c) {
      const { base, url } = m;
      url.scheme = "file";
      url.host = "";
      if (c === "/" || c === "\\") return "fileSlash";
      if (base === null || base.scheme !== "file") {
        m.at--;
        return "path";
      }
      url.host = base.host;
      url.path = pathOf(base);
      url.query = base.query;
      if (c === "" || c === "?" || c === "#") return fromBase(m, c);
      url.query = null;
      if (beginsWithLetter(m.all, m.at)) url.path = [];
      else shorten(url);
      m.at--;
      return "path";
    },
    fileSlash(m, c) {
      const { base, url } = m;
      if (c === "/" || c === "\\") return "fileHost";
      if (base !== null && base.scheme === "file") {
        url.host = base.host;
        if (!beginsWithLetter(m.all, m.at) && base.path.length > 0 && isNormalLetter(base.path[0])) push(url.path, base.path[0]);
      }
      m.at--;
      return "path";
    },
    fileHost(m, c) {
      const { url } = m;
      if (c !== "" && c !== "/" && c !== "\\" && c !== "?" && c !== "#") {
        m.buffer += c;
        return;
      }
      m.at--;
      if (!m.override && isWindowsLetter(m.buffer)) return "path";
      if (m.buffer === "") {
        url.host = "";
        return m.override ? DONE : "pathStart";
      }
      const host = parseHost(m.buffer, !isSpecial(url));
      if (host === null) return FAIL;
      url.host = host === "localhost" ? "" : host;
      if (m.override) return DONE;
      m.buffer = "";
      return "pathStart";
    },
    pathStart(m, c) {
      const { url } = m;
      if (isSpecial(url)) {
        if (c !== "/" && c !== "\\") m.at--;
        return "path";
      }
      if (!m.override && c === "?") {
        url.query = "";
        return "query";
      }
      if (!m.override && c === "#") {
        url.fragment = "";
        return "fragment";
      }
      if (c !== "") {
        if (c !== "/") m.at--;
        return "path";
      }
      if (m.override && url.host === null) push(url.path, "");
    },
    path(m, c) {
      const { url } = m;
      const isSlash = c === "/" || (isSpecial(url) && c === "\\");
      if (c !== "" && !isSlash && (m.override || (c !== "?" && c !== "#"))) {
        m.buffer += encodedIn(PATH, c);
        return;
      }
      if (isDots(m.buffer)) {
        shorten(url);
        if (!isSlash) push(url.path, "");
      } else if (isDot(m.buffer)) {
        if (!isSlash) push(url.path, "");
      } else {
        if (url.scheme === "file" && url.path.length === 0 && isWindowsLetter(m.buffer)) m.buffer = m.buffer[0] + ":";
        push(url.path, m.buffer);
      }
      m.buffer = "";
      if (c === "?") {
        url.query = "";
        return "query";
      }
      if (c === "#") {
        url.fragment = "";
        return "fragment";
      }
    },
    opaquePath(m, c) {
      const { url } = m;
      if (c === "?") {
        url.query = "";
        return "query";
      }
      if (c === "#") {
        url.fragment = "";
        return "fragment";
      }
      if (c === " ") url.path += isIn("?#", m.all[m.at + 1] ?? "") ? "%20" : " ";
      else if (c !== "") url.path += encodedIn("", c);
    },
    query(m, c) {
      const { url } = m;
      if (c !== "" && (c !== "#" || m.override)) {
        m.buffer += encodedIn(isSpecial(url) ? SPECIAL_QUERY : QUERY, c);
        return;
      }
      url.query += m.buffer;
      m.buffer = "";
      if (c === "#") {
        url.fragment = "";
        return "fragment";
      }
    },
    fragment(m, c) {
      if (c !== "") m.url.fragment += encodedIn(FRAGMENT, c);
    },
  };
  // What is relative has taken the parts of its base: which of them does it replace?
  const fromBase = (m, c) => {
    const { url } = m;
    if (c === "?") {
      url.query = "";
      return "query";
    }
    if (c === "#") {
      url.fragment = "";
      return "fragment";
    }
    if (c === "") return;
    url.query = null;
    shorten(url);
    m.at--;
    return "path";
  };

  const trimmed = (text) => {
    let start = 0;
    let end = text.length;
    while (start < end && text[start] <= " ") start++;
    while (end > start && text[end - 1] <= " ") end--;
    return slice(text, start, end);
  };

  // The record, or null. With `url`, a part of it is changed, from the state `state` on; `override` says for which setter.
  const parse = (text, base, url, state, override) => {
    const m = {
      __proto__: null, base, url: url ?? newRecord(), override, buffer: "", at: 0, atSign: false, inBrackets: false, passwordToken: false,
      all: charactersOf(without(url === undefined ? trimmed(text) : text, "\t\n\r")),
    };
    let now = state ?? "schemeStart";
    for (; ; m.at++) {
      const c = m.at < m.all.length ? m.all[m.at] : "";
      const isEnd = m.at >= m.all.length;
      const next = states[now](m, c);
      if (next === FAIL) return null;
      if (next === DONE) return m.url;
      if (next !== undefined) now = next;
      if (isEnd && m.at >= m.all.length) return m.url;
    }
  };

  const pathText = (url) => {
    if (isOpaquePath(url)) return url.path;
    let text = "";
    for (let i = 0; i < url.path.length; i++) text += "/" + url.path[i];
    return text;
  };
  const hostText = (url) => (url.host ?? "") + (url.port === null ? "" : ":" + StringOf(url.port));
  const hrefOf = (url) => {
    let text = url.scheme + ":";
    if (url.host !== null) {
      text += "//" + url.username + (url.password === "" ? "" : ":" + url.password);
      text += (url.username !== "" || url.password !== "" ? "@" : "") + hostText(url);
    } else if (!isOpaquePath(url) && url.path.length > 1 && url.path[0] === "") text += "/.";
    return text + pathText(url) + (url.query === null ? "" : "?" + url.query) + (url.fragment === null ? "" : "#" + url.fragment);
  };
  const originOf = (url) => {
    if (url.scheme === "blob") {
      const inner = parse(pathText(url), null);
      return inner !== null && (inner.scheme === "http" || inner.scheme === "https") ? originOf(inner) : "null";
    }
    return isSpecial(url) && url.scheme !== "file" ? url.scheme + "://" + hostText(url) : "null";
  };

  // ── URLSearchParams ───────────────────────────────────────────────────────────────────────────────────────────────────
  const isFormSafe = (c) => isAlpha(c) || isDigit(c) || isIn("*-._", c);
  const formEncoded = (text) => {
    const all = charactersOf(text);
    let whole = "";
    for (let i = 0; i < all.length; i++) whole += all[i] === " " ? "+" : isFormSafe(all[i]) ? all[i] : percentAll(all[i]);
    return whole;
  };
  const formDecoded = (text) => {
    const pairs = [];
    const parts = split(text, "&");
    for (let i = 0; i < parts.length; i++) {
      if (parts[i] === "") continue;
      const at = indexOf(parts[i], "=");
      const name = at < 0 ? parts[i] : slice(parts[i], 0, at);
      push(pairs, [percentDecoded(name, true), at < 0 ? "" : percentDecoded(slice(parts[i], at + 1), true)]);
    }
    return pairs;
  };
  const wellFormed = unbound(String.prototype.toWellFormed);
  const textOf = (value) => wellFormed(StringOf(value));
  const need = (count, given, name) => {
    if (given < count) throw new TypeErrorOf(name + " takes " + StringOf(count) + (count > 1 ? " values" : " value"));
  };

  class URLSearchParams {
    #pairs = [];
    #url = null; // that whose query this is
    constructor(init = "") {
      if (typeof init === "object" && init !== null) {
        if (init[iterator] !== undefined && init[iterator] !== null) {
          for (const pair of init) {
            const both = [];
            for (const part of pair) push(both, textOf(part));
            if (both.length !== 2) throw new TypeErrorOf("each pair has a name and a value");
            push(this.#pairs, both);
          }
        } else {
          const names = ownKeys(init);
          for (let i = 0; i < names.length; i++) {
            const field = getOwnPropertyDescriptor(init, names[i]);
            if (field !== undefined && field.enumerable) push(this.#pairs, [textOf(names[i]), textOf(init[names[i]])]);
          }
        }
      } else {
        const text = textOf(init);
        this.#pairs = formDecoded(text[0] === "?" ? slice(text, 1) : text);
      }
    }
    get size() {
      return this.#pairs.length;
    }
    append(name, value) {
      need(2, arguments.length, "append");
      push(this.#pairs, [textOf(name), textOf(value)]);
      this.#changed();
    }
    delete(name, value = undefined) {
      need(1, arguments.length, "delete");
      this.#keep(textOf(name), value === undefined ? undefined : textOf(value));
      this.#changed();
    }
    get(name) {
      need(1, arguments.length, "get");
      const at = this.#find(textOf(name));
      return at < 0 ? null : this.#pairs[at][1];
    }
    getAll(name) {
      need(1, arguments.length, "getAll");
      const wanted = textOf(name);
      const all = [];
      for (let i = 0; i < this.#pairs.length; i++) if (this.#pairs[i][0] === wanted) push(all, this.#pairs[i][1]);
      return all;
    }
    has(name, value = undefined) {
      need(1, arguments.length, "has");
      return this.#find(textOf(name), value === undefined ? undefined : textOf(value)) >= 0;
    }
    set(name, value) {
      need(2, arguments.length, "set");
      const wanted = textOf(name);
      const text = textOf(value);
      const at = this.#find(wanted);
      if (at < 0) push(this.#pairs, [wanted, text]);
      else {
        this.#pairs[at][1] = text;
        this.#keep(wanted, undefined, at);
      }
      this.#changed();
    }
    // By the units of the names; equal names stay in their order.
    sort() {
      const pairs = this.#pairs;
      for (let i = 1; i < pairs.length; i++) {
        const pair = pairs[i];
        let at = i;
        for (; at > 0 && pairs[at - 1][0] > pair[0]; at--) pairs[at] = pairs[at - 1];
        pairs[at] = pair;
      }
      this.#changed();
    }
    forEach(call, self = undefined) {
      if (typeof call !== "function") throw new TypeErrorOf("forEach takes a function");
      for (let i = 0; i < this.#pairs.length; i++) apply(call, self, [this.#pairs[i][1], this.#pairs[i][0], this]);
    }
    entries() {
      return walk(this, (pair) => [pair[0], pair[1]]);
    }
    keys() {
      return walk(this, (pair) => pair[0]);
    }
    values() {
      return walk(this, (pair) => pair[1]);
    }
    toString() {
      let text = "";
      for (let i = 0; i < this.#pairs.length; i++) text += (i ? "&" : "") + formEncoded(this.#pairs[i][0]) + "=" + formEncoded(this.#pairs[i][1]);
      return text;
    }
    #find(name, value) {
      for (let i = 0; i < this.#pairs.length; i++) {
        if (this.#pairs[i][0] === name && (value === undefined || this.#pairs[i][1] === value)) return i;
      }
      return -1;
    }
    // All pairs but those of that name (and value); that at `except` stays.
    #keep(name, value, except = -1) {
      const rest = [];
      for (let i = 0; i < this.#pairs.length; i++) {
        const pair = this.#pairs[i];
        if (i === except || pair[0] !== name || (value !== undefined && pair[1] !== value)) push(rest, pair);
      }
      this.#pairs = rest;
    }
    #changed() {
      if (this.#url !== null) setQuery(this.#url, this.toString());
    }
    static of = (url, query) => {
      const made = new URLSearchParams();
      made.#url = url;
      made.#pairs = formDecoded(query);
      return made;
    };
    static refill = (params, query) => {
      params.#pairs = formDecoded(query);
    };
    static at = (params, index) => (index < params.#pairs.length ? params.#pairs[index] : null);
  }
  const { apply } = Reflect;
  const { of: paramsOf, refill, at: pairAt } = URLSearchParams;
  delete URLSearchParams.of;
  delete URLSearchParams.refill;
  delete URLSearchParams.at;

  const Steps = {
    __proto__: Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())),
    next() {
      return this.step();
    },
  };
  tag(Steps, "URLSearchParams Iterator");
  const walk = (params, shown) => {
    let index = 0;
    const step = () => {
      const pair = pairAt(params, index++);
      return pair === null ? { value: undefined, done: true } : { value: shown(pair), done: false };
    };
    return hide(setPrototypeOf({}, Steps), "step", step);
  };

  // ── URL ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
  const parsed = (url, base) => {
    let from = null;
    if (base !== undefined) {
      from = parse(textOf(base), null);
      if (from === null) return null;
    }
    return parse(textOf(url), from);
  };
  const canHaveCredentials = (url) => url.host !== null && url.host !== "" && url.scheme !== "file";

  class URL {
    #url;
    #params = null;
    constructor(url, base = undefined) {
      need(1, arguments.length, "URL");
      const made = parsed(url, base);
      if (made === null) {
        const error = new TypeErrorOf("Invalid URL");
        hide(error, "code", "ERR_INVALID_URL");
        throw error;
      }
      this.#url = made;
    }
    static canParse(url, base = undefined) {
      return parsed(url, base) !== null;
    }
    static parse(url, base = undefined) {
      const made = parsed(url, base);
      return made === null ? null : new URL(hrefOf(made));
    }
    get href() {
      return hrefOf(this.#url);
    }
    set href(value) {
      const made = parse(textOf(value), null);
      if (made === null) throw new TypeErrorOf("Invalid URL");
      this.#url = made;
      this.#refill();
    }
    get origin() {
      return originOf(this.#url);
    }
    get protocol() {
      return this.#url.scheme + ":";
    }
    set protocol(value) {
      parse(textOf(value) + ":", null, this.#url, "schemeStart", "protocol");
    }
    get username() {
      return this.#url.username;
    }
    set username(value) {
      if (canHaveCredentials(this.#url)) this.#url.username = encoded(USERINFO, textOf(value));
    }
    get password() {
      return this.#url.password;
    }
    set password(value) {
      if (canHaveCredentials(this.#url)) this.#url.password = encoded(USERINFO, textOf(value));
    }
    get host() {
      return hostText(this.#url);
    }
    set host(value) {
      if (!isOpaquePath(this.#url)) parse(textOf(value), null, this.#url, "host", "host");
    }
    get hostname() {
      return this.#url.host ?? "";
    }
    set hostname(value) {
      if (!isOpaquePath(this.#url)) parse(textOf(value), null, this.#url, "host", "hostname");
    }
    get port() {
      return this.#url.port === null ? "" : StringOf(this.#url.port);
    }
    set port(value) {
      if (!canHaveCredentials(this.#url)) return;
      const text = textOf(value);
      if (text === "") this.#url.port = null;
      else parse(text, null, this.#url, "port", "port");
    }
    get pathname() {
      return pathText(this.#url);
    }
    set pathname(value) {
      if (isOpaquePath(this.#url)) return;
      this.#url.path = [];
      parse(textOf(value), null, this.#url, "pathStart", "pathname");
    }
    get search() {
      const { query } = this.#url;
      return query === null || query === "" ? "" : "?" + query;
    }
    set search(value) {
      const text = textOf(value);
      if (text === "") this.#url.query = null;
      else {
        this.#url.query = "";
        parse(text[0] === "?" ? slice(text, 1) : text, null, this.#url, "query", "search");
      }
      this.#refill();
    }
    get searchParams() {
      if (this.#params === null) this.#params = paramsOf(this, this.#url.query ?? "");
      return this.#params;
    }
    get hash() {
      const { fragment } = this.#url;
      return fragment === null || fragment === "" ? "" : "#" + fragment;
    }
    set hash(value) {
      const text = textOf(value);
      if (text === "") {
        this.#url.fragment = null;
        return;
      }
      this.#url.fragment = "";
      parse(text[0] === "#" ? slice(text, 1) : text, null, this.#url, "fragment", "hash");
    }
    toString() {
      return hrefOf(this.#url);
    }
    toJSON() {
      return hrefOf(this.#url);
    }
    #refill() {
      if (this.#params !== null) refill(this.#params, this.#url.query ?? "");
    }
    static setQuery = (url, query) => {
      url.#url.query = query === "" ? null : query;
    };
  }
  const { setQuery } = URL;
  delete URL.setQuery;

  expose(URL.prototype, [
    "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "searchParams", "hash",
    "toString", "toJSON",
  ]);
  const METHODS = ["size", "append", "delete", "get", "getAll", "has", "set", "sort", "forEach", "entries", "keys", "values", "toString"];
  expose(URLSearchParams.prototype, METHODS);
  const { entries } = URLSearchParams.prototype;
  hide(URLSearchParams.prototype, iterator, entries);
  tag(URL.prototype, "URL");
  tag(URLSearchParams.prototype, "URLSearchParams");
  define("URL", URL);
  define("URLSearchParams", URLSearchParams);
}
