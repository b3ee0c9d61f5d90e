// A workflow that does what its input says, so that inputs of the fuzzer reach every command: a list that begins with a
// number is something to do, everything else is itself.
const { step, sleep, sleepUntil, hook, child, abandon, entered, left } = cloche;

const list = (value) => (Array.isArray(value) ? value : []);

async function act(what) {
  if (!Array.isArray(what) || typeof what[0] !== "number") return what;
  const [number, a, b, c] = what;
  switch (number) {
    case 0: return step(a, b)(...what.slice(3));
    case 1: return step(a)(b, c);
    case 2: return sleep(a, b, c);
    case 3: return sleepUntil(a, b, c);
    case 4: return hook(a, b, c);
    case 5: return child(a, b, c);
    case 7: return Promise.all(list(a).map(act));
    case 8: return Promise.allSettled(list(a).map(act));
    case 9: return Promise.race(list(a).map(act));
    case 10: {
      let last;
      for (const next of list(a)) last = await act(next);
      return last;
    }
    case 11: try { return await act(a); } catch (error) { return error; }
    case 12: throw await act(a);
    case 13: throw Object.assign(new Error(String(a), { cause: b }), c);
    case 14: console.log(a, b, c); return;
    case 15: entered(a, b); left(a, [c ? 1 : 0, b]); return;
    case 16: { const asked = step(a)(b); return [abandon(asked), abandon(asked)]; }
    case 17: return [new Date(a), Math.random(), Date.now()];
    case 18: return { a, b, get c() { return c; }, __proto__: { inherited: 1 } };
    case 19: { const around = { a }; around.around = b ? around : b; return around; }
    case 20: return [new Error(a, { cause: new TypeError(b) }), String.fromCharCode(a), BigInt(Math.trunc(b)) ** 9n];
    case 21: return { a: { a } };
    default: return [number, act, Symbol.iterator, new Map()][Math.trunc(number) % 4];
  }
}

export default act;
