/** Who asks, and the tenant that is shown: who reaches all of them switches it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { findTenants, me, shownTenant, signOut, switchTenant, tenants } from "../session";
import { Dialog } from "../ui/dialog";
import { toastError } from "../ui/toast";
import { useKeys } from "../keys";

export function Account(): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const [typed, setTyped] = useState("");
  const who = me.value!;
  const reachesAll = who.tenant === null;
  const open = (): void => {
    setOpen(true);
    findTenants().catch(toastError);
  };
  const take = (name: string): void => {
    setOpen(false);
    switchTenant(name);
  };
  useKeys("Everywhere", [{ keys: "i", label: "who is signed in, and for which tenant", run: open }]);
  return (
    <>
      <button type="button" class="tenant" onClick={open} aria-haspopup="dialog" title="Who is signed in, and for which tenant (I)">
        <span class="dim">Tenant</span> <bdi class="strong">{shownTenant.value}</bdi>
      </button>
      {isOpen && (
        <Dialog title="Who asks" onClose={() => setOpen(false)}>
          <dl class="pairs">
            <dt>Signed in as</dt>
            <dd>
              <bdi>{who.id}</bdi>
            </dd>
            <dt>Role</dt>
            <dd>{who.role}</dd>
            <dt>Reaches</dt>
            <dd>{reachesAll ? "all tenants" : <bdi>{who.tenant}</bdi>}</dd>
          </dl>
          {reachesAll && (
            <section class="tenants">
              <h3 id="which">Show the tenant</h3>
              <div role="group" aria-labelledby="which">
                {tenants.value.map((name) => (
                  <button type="button" class="btn" aria-pressed={name === shownTenant.value} onClick={() => take(name)}>
                    <bdi>{name}</bdi>
                  </button>
                ))}
              </div>
              <form
                onSubmit={(event) => {
                  event.preventDefault();
                  if (typed.trim()) take(typed.trim());
                }}
              >
                <label for="other">another one</label>
                <input id="other" value={typed} maxLength={200} onInput={(event) => setTyped(event.currentTarget.value)} />
                <button class="btn" type="submit">
                  Show
                </button>
              </form>
            </section>
          )}
          {who.id !== "local" && (
            <div class="end">
              <button type="button" class="btn" onClick={() => void signOut()}>
                Sign out
              </button>
            </div>
          )}
        </Dialog>
      )}
    </>
  );
}
