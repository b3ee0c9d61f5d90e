/** Source with line numbers and a little colour. The run page has one of its own, with the line that runs. */

import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";

const WORDS: Record<string, RegExp> = {
  javascript: /^(?:const|let|await|async|return|function|for|of|in|if|else|import|from|export|new|throw|try|catch|while|true|false|null|undefined)$/,
  python: /^(?:def|async|await|return|for|in|if|elif|else|import|from|class|with|as|try|except|finally|raise|while|and|or|not|is|None|True|False|lambda|yield|pass)$/,
};
const TOKENS = /(\/\/[^\n]*|#[^\n]*)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\b(\d[\d_.]*)\b|([A-Za-z_$][\w$]*)(\s*\()?/g;
const PAINTED_MAX = 200_000;

export function Listing({ code, language }: { code: string; language: string }): JSX.Element {
  const lines = useMemo(() => code.split("\n").map((line) => (code.length > PAINTED_MAX ? line : painted(line, language))), [code, language]);
  return (
    <div class="code">
      {lines.map((line, index) => (
        <div class="ln plain">
          <span class="n" aria-hidden="true">
            {index + 1}
          </span>
          <span />
          <span>{line}</span>
        </div>
      ))}
    </div>
  );
}

/** One line, as parts with the classes `tc` (comment), `ts` (string), `tn` (number), `tk` (keyword), `tf` (a call). */
export function painted(line: string, language: string): ComponentChildren {
  const parts: ComponentChildren[] = [];
  let last = 0;
  for (const found of line.matchAll(TOKENS)) {
    const [all, comment, string, number, name, call] = found;
    if (comment !== undefined && (comment[0] === "#") !== (language === "python")) continue;
    const kind = comment !== undefined ? "tc" : string !== undefined ? "ts" : number !== undefined ? "tn" : WORDS[language]?.test(name!) ? "tk" : call !== undefined ? "tf" : "";
    if (!kind) continue;
    const text = name !== undefined ? name : all;
    parts.push(line.slice(last, found.index), <span class={kind}>{text}</span>);
    last = found.index + text.length;
  }
  parts.push(line.slice(last));
  return parts;
}
