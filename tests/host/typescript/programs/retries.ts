import { FatalError, RetryableError } from "workflow";

export async function retries(): Promise<{ first: number; second: string; third: string }> {
  "use workflow";
  const first = await flaky(2);
  const second = await hopeless().catch((error: Error) => `${error.name}: ${error.message}`);
  let third = "";
  try {
    await never();
  } catch (error) {
    third = error instanceof Error && FatalError.is(error) ? "fatal" : "other";
  }
  return { first, second, third };
}

async function flaky(times: number): Promise<number> {
  "use step";
  throw new RetryableError("again", { retryAfter: 10 });
}
async function hopeless() {
  "use step";
  throw new FatalError("there is no way");
}
async function never(): Promise<never> {
  "use step";
  throw new Error("no");
}
never.maxRetries = 0;
