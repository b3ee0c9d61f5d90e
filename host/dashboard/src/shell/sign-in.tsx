/** Signing in with a token. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { signIn } from "../session";
import { Brand } from "../ui/basic";
import { useSubmit } from "../ui/parts";

export function SignIn(): JSX.Element {
  const [text, setText] = useState("");
  const { isBusy, problem, submit } = useSubmit(() => signIn(text));
  return (
    <main class="signin">
      <form onSubmit={submit}>
        <h1>
          <span class="brand">
            <Brand />
          </span>
          Sign in to cloche
        </h1>
        <label for="token">Token</label>
        <input id="token" type="password" autocomplete="off" spellcheck={false} required value={text} onInput={(event) => setText(event.currentTarget.value)} aria-describedby="token-about token-why" />
        <p id="token-about" class="dim">
          Whoever runs this server makes one with <code>cloche token create</code>. It is changed for a cookie that lasts twelve hours.
        </p>
        <p id="token-why" class="mistake" role="alert">
          {problem}
        </p>
        <button class="btn main" type="submit" disabled={isBusy || !text.trim()}>
          Sign in
        </button>
      </form>
    </main>
  );
}
