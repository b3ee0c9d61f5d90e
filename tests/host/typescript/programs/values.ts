enum Level {
  Low = 1,
  High = Low << 2,
  Name = "name",
}

export async function values(when: string) {
  "use workflow";
  const seen = new Map<string, Set<number>>([["a", new Set([1, 2, 2])]]);
  const found = await remember({ set: [...seen.get("a")!], when: new Date(when), level: Level.High, nothing: null });
  return {
    size: seen.size,
    set: found.set,
    when: found.when.toISOString(),
    level: Level[found.level],
    name: Level.Name,
    big: await large(2n ** 70n),
    pattern: /^a+$/u.test("aaa"),
  };
}

async function remember<T>(value: T): Promise<T> {
  "use step";
  return value;
}
async function large(n: bigint): Promise<string> {
  "use step";
  return String(n);
}
