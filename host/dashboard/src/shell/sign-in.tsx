/** Signing in with a token. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { textOf } from "../api/client";
import { Problem } from "../api/client";
import { signIn } from "../session";
import { Brand } from "../ui/basic";

export function SignIn(): JSX.Element {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(text);
    } catch (error) {
      setProblem(error instanceof Problem && error.status === 401 ? "This token lets nobody in: it is not known here, has expired, or was revoked." : textOf(error));
    }
    setBusy(false);
  };
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
