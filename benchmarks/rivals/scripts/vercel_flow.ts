// The workflows for Vercel's SDK.
export async function echo(i: number) {
  'use step';
  return i;
}

export async function sequential(n: number) {
  'use workflow';
  let sum = 0;
  for (let i = 0; i < n; i++) sum += await echo(i);
  return sum;
}

export async function parallel(n: number) {
  'use workflow';
  const all = await Promise.all(Array.from({ length: n }, (_, i) => echo(i)));
  return all.reduce((a, b) => a + b, 0);
}
