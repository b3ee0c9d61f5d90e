import pRetry from "p-retry";

export default async function program() {
  let tries = 0;
  const result = await pRetry(async () => { if (++tries < 3) throw new Error("again"); return "ok" }, { retries: 4, minTimeout: 2, factor: 1 });
  return [result, tries];
}
