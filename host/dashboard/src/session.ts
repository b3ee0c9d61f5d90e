/** Who asks, and for which tenant. */

import { computed, signal } from "./signals";
import { ask, isSignedOut, Problem, setToken, tenant } from "./api/client";
import type { Me, Role, TenantUsage } from "./api/models";

export const me = signal<Me | null>(null);
/** The server was not reached when the page was opened. */
export const isAway = signal(false);
/** Tenants that have runs, for who reaches all of them. */
export const tenants = signal<string[]>([]);
/** The tenant that the page shows. */
export const shownTenant = computed(() => tenant.value ?? me.value?.tenant ?? me.value?.default_tenant ?? "");

const RANK: Record<Role, number> = { worker: 0, viewer: 1, operator: 2, admin: 3 };
export const may = (role: Role): boolean => me.value !== null && RANK[me.value.role] >= RANK[role];

const KEPT = "cloche.tenant";

export async function begin(): Promise<void> {
  try {
    tenant.value = null;
    me.value = await ask<Me>("me");
    isSignedOut.value = isAway.value = false;
    const kept = sessionStorage.getItem(KEPT);
    if (me.value.tenant === null && kept !== null) tenant.value = kept;
  } catch (error) {
    isAway.value = !(error instanceof Problem && error.status === 401);
    if (isAway.value) setTimeout(begin, 1000);
  }
}

/** Sign in with a token: it is changed for a cookie that no script reads. Where the browser keeps none, it is kept by this page.
 *
 * Throws `Problem` where the token is not valid.
 */
export async function signIn(text: string): Promise<void> {
  setToken(text.trim());
  try {
    await ask("session", { method: "POST", body: {} });
    setToken(null);
    try {
      await ask("me");
    } catch {
      setToken(text.trim());
    }
  } catch (error) {
    if (!(error instanceof Problem && error.status === 409)) {
      setToken(null);
      throw error instanceof Problem && error.status === 401 ? new Error("This token lets nobody in: it is not known here, has expired, or was revoked.") : error;
    }
  }
  await begin();
}

export async function signOut(): Promise<void> {
  await ask("session", { method: "DELETE" }).catch(() => undefined);
  setToken(null);
  me.value = null;
  isSignedOut.value = true;
}

export async function findTenants(): Promise<void> {
  if (me.peek()?.tenant !== null) return;
  const { tenants: found } = await ask<{ tenants: TenantUsage[] }>("usage", { isOfAll: true });
  tenants.value = [...new Set([...found.map((one) => one.tenant), shownTenant.peek()])].sort();
}

export function switchTenant(name: string): void {
  tenant.value = name === me.peek()?.default_tenant ? null : name;
  if (tenant.value === null) sessionStorage.removeItem(KEPT);
  else sessionStorage.setItem(KEPT, name);
}
