/** Light or dark: as the system has it, until the reader says otherwise. */

import { signal } from "./signals";
import { keep, kept } from "./kept";

const KEPT = "theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const asked = new URLSearchParams(location.search).get("theme") ?? kept(KEPT);

export const theme = signal<"light" | "dark" | null>(asked === "light" || asked === "dark" ? asked : null);
apply();

function apply(): void {
  if (theme.value === null) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
}

export function toggleTheme(): void {
  const isDark = theme.value === null ? system.matches : theme.value === "dark";
  theme.value = isDark ? "light" : "dark";
  apply();
  keep(KEPT, theme.value);
}
