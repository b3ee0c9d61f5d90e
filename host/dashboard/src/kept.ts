/** What this browser keeps for the page, if it keeps anything. */

export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`cloche.${name}`);
  } catch {
    return null;
  }
}

/** Gives whether it is kept. */
export function keep(name: string, value: string): boolean {
  try {
    localStorage.setItem(`cloche.${name}`, value);
    return true;
  } catch {
    return false;
  }
}
