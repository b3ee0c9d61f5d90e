/** A line of source with a little colour. */

import type { ComponentChildren } from "preact";

/** Of JavaScript and of Python. */
const WORDS = /^(?:const|let|async|await|return|function|for|of|in|if|elif|else|import|from|export|new|throw|try|catch|except|finally|raise|while|def|class|with|as|and|or|not|is|lambda|yield|pass|true|false|null|undefined|None|True|False)$/;
const TOKENS = /(\/\/[^\n]*|#[^\n]*)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)(?=(\s*:)?)|(-?\b\d[\d_.]*(?:e[+-]?\d+)?)\b|([A-Za-z_$][\w$]*)(\s*\()?/g;

/** One line, as parts with the classes `tc` (comment), `ts` (string), `tf` (the name of a member), `tn` (number), `tk` (keyword), `tf` (a call). */
export function painted(line: string, language: string): ComponentChildren {
  const parts: ComponentChildren[] = [];
  let last = 0;
  for (const found of line.matchAll(TOKENS)) {
    const [all, comment, string, colon, number, name, call] = found;
    if (comment !== undefined && (comment[0] === "#") !== (language === "python")) continue;
    const kind = comment !== undefined ? "tc" : string !== undefined ? (colon ? "tf" : "ts") : number !== undefined ? "tn" : WORDS.test(name!) ? "tk" : call !== undefined ? "tf" : "";
    if (!kind) continue;
    const text = name !== undefined ? name : all;
    parts.push(line.slice(last, found.index), <span class={kind}>{text}</span>);
    last = found.index + text.length;
  }
  parts.push(line.slice(last));
  return parts;
}
