export async function closures(prefix: string, limits: { most: number }) {
  "use workflow";
  let calls = 0;
  const label = async (text: string) => {
    "use step";
    return `${prefix}-${text}-${limits.most}-${calls}`;
  };
  const tool = {
    name: "double",
    execute: async (n: number) => {
      "use step";
      return n * limits.most;
    },
  };
  const out: unknown[] = [];
  for (const text of ["a", "b"]) {
    calls++;
    out.push(await label(text));
  }
  out.push(await tool.execute(21));
  return out;
}
