/** The frame round every page: who asks, for which tenant, where to go, and the keys. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { isSignedOut } from "./api/client";
import { broken } from "./api/sse";
import { useKeys } from "./keys";
import { Brand, Icon, Kbd } from "./ui/basic";
import { Toasts } from "./ui/toast";
import { Help } from "./shell/help";
import { Jump } from "./shell/jump";
import { SignIn } from "./shell/sign-in";
import { Account } from "./shell/account";
import { PAGES, pageOf } from "./pages/pages";
import { go, link, place } from "./router";
import { isAway, me, shownTenant } from "./session";
import { toggleTheme } from "./theme";

export function App(): JSX.Element {
  useKeys("Everywhere", [{ keys: "t", label: "light or dark", run: toggleTheme }]);
  if (isSignedOut.value) return <SignIn />;
  if (me.value === null) return <Waiting />;
  return <Frame />;
}

function Waiting(): JSX.Element {
  return (
    <main class="signin" aria-busy="true">
      {isAway.value && <p role="alert">The server cannot be reached. It is asked again each second.</p>}
    </main>
  );
}

function Frame(): JSX.Element {
  const [over, setOver] = useState<"help" | "jump" | null>(null);
  const { page, name } = pageOf(place.value.parts);
  useKeys("Everywhere", [
    { keys: "?", label: "this list", run: () => setOver("help") },
    { keys: ["Mod+k", "."], label: "jump to a run, a page or a command", run: () => setOver("jump") },
    ...PAGES.map((one) => ({ keys: one.key, label: one.title.toLowerCase(), run: () => go(link(one.name)) })),
  ]);
  useEffect(() => {
    document.title = [place.value.parts[1], PAGES.find((one) => one.name === name)?.title ?? "cloche", "cloche"].filter(Boolean).join(" · ");
  });
  return (
    <>
      <header class="top">
        <a class="skip" href="#/" onClick={skip}>
          Skip to the content
        </a>
        <a class="brand" href={link("runs")} aria-label="cloche: all runs">
          <Brand />
          cloche
        </a>
        <nav aria-label="Main">
          {PAGES.map((one) => (
            <a href={link(one.name)} aria-current={one.name === name ? "page" : undefined} title={`Key ${one.key}`}>
              {one.title}
            </a>
          ))}
        </nav>
        <span class="grow" />
        <button type="button" class="jump" title="To a run, a page or a command" onClick={() => setOver("jump")}>
          <span>Jump to…</span>
          <Kbd of="Mod+k" />
        </button>
        <Account />
        <button type="button" class="icon" title="Light or dark (T)" aria-label="Light or dark" onClick={toggleTheme}>
          <Icon name="theme" />
        </button>
        <button type="button" class="icon" title="Keys (?)" aria-label="Keys" onClick={() => setOver("help")}>
          ?
        </button>
      </header>
      {broken.value > 0 && (
        <p class="lost" role="status">
          The server is not reached: what you see is as it was. The page goes on by itself.
        </p>
      )}
      <div class="stage" id="stage" key={shownTenant.value}>
        {page}
      </div>
      {over === "help" && <Help onClose={() => setOver(null)} />}
      {over === "jump" && <Jump onClose={() => setOver(null)} />}
      <Toasts />
    </>
  );
}

function skip(event: MouseEvent): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#stage [tabindex], #stage a, #stage button, #stage input")?.focus();
}
